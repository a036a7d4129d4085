"""The proof: what was read on the source and on the target, counted and judged."""
