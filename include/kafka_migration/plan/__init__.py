"""The plan: the YAML of one migration, what it may say, and the graph of services that it describes."""
