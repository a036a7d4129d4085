"""The live shop that the demo and the tests migrate, and all that it stands on.

Real Kafka clusters, real services, a witness of what they did. Nothing here knows the migration.
"""
