"""The two clusters: reaching them, telling them apart, and what they can do."""
