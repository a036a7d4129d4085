"""How a benchmark ends that has measured nothing. Alone in its module: who imports it loads no client by it."""


class BenchmarkFailed(Exception):
    """What was measured did not do what it is measured for."""
