"""Consumer groups: who they are, what they have committed, when they have drained, and where they are seeded."""
