"""Topics: what they are on a cluster, what the target's must be, and creating them."""
