"""`python health.py PART`: ends with 0 when that part of Airflow is healthy. Changes nothing.

A part is one that Airflow's health answer tells of. The body is read: Airflow answers 200 also when a part is not
well. Of a Celery worker, of which that answer does not tell, the worker itself is asked through the queue.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import urllib.request

_URL = "http://api-server:8080/api/v2/monitor/health"
_WITHIN = 8.0


def problem_of(part: str, answer: str) -> str | None:
    """What is wrong with that part after Airflow's answer; None: it is healthy."""
    try:
        status = json.loads(answer)[part]["status"]
    except (ValueError, KeyError, TypeError):
        return f"the health answer tells nothing of {part}"
    return None if status == "healthy" else f"{part} is {status}"


def _worker_problem() -> str | None:
    from celery import Celery

    name = f"celery@{socket.gethostname()}"
    app = Celery(broker=os.environ["AIRFLOW__CELERY__BROKER_URL"])
    answers = app.control.inspect(destination=[name], timeout=_WITHIN).ping()
    return None if answers else f"{name} does not answer"


def main(part: str) -> str | None:
    try:
        if part == "worker":
            return _worker_problem()
        with urllib.request.urlopen(_URL, timeout=_WITHIN) as answer:
            return problem_of(part, answer.read().decode())
    except Exception as error:  # whatever keeps the answer away is the reason
        return f"{part}: {type(error).__name__}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
