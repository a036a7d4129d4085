"""The service `analytics`: reads every topic, deliberately some seconds behind, so that there is a backlog.

Behind by time and not by a limited rate: the backlog is some thousand messages within seconds and no
more an hour later.
"""

from demo.shop.reader import CLASSIC, commit_position, run_reader
from demo.shop.settings import required

if __name__ == "__main__":
    run_reader(
        "analytics",
        ["orders", "payments", "shipments", "returns", "customers"],
        {**CLASSIC, "auto.offset.reset": "earliest", "isolation.level": "read_committed"},
        commit_position,
        behind=float(required("SHOP_BEHIND_SECONDS")),
    )
