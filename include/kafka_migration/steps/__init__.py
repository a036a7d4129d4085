"""The steps of the schemes. A DAG names each by its import path, so that parsing loads no Kafka client.

One that acts is a function `(run, **args) -> StepReport`; one that waits is a `WaitStep`.
"""
