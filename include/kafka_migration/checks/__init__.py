"""The preflight's checks. Each looks at one thing, changes nothing, and returns findings."""
