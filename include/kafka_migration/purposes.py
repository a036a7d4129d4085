"""What a run is for: the last part of its DAG's name, `<plan>.<purpose>`."""

MIGRATE, ROLLBACK, VERIFY = "migrate", "rollback", "verify"
"""Services move; a migration is taken back; what was moved is looked at again, which changes nothing."""

MIRROR, FAILOVER, FAILBACK, DRILL = "mirror", "failover", "failback", "drill"
"""Of a mirror that is kept: it is started and watched; services follow it, since the source is lost; they come back;
the loss is practised on copies of the groups.
"""

LOCKING = (MIGRATE, ROLLBACK, FAILOVER, FAILBACK)
"""The purposes whose runs hold the topics and services that they touch."""
