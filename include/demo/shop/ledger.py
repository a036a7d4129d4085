"""The service `ledger`: works off the stored events at a rate of its own, so that it stays far behind for a while."""

from demo.shop.reader import CLASSIC, commit_position, run_reader
from demo.shop.settings import required

if __name__ == "__main__":
    run_reader(
        "ledger",
        ["events"],
        {**CLASSIC, "auto.offset.reset": "error"},
        commit_position,
        rate=float(required("SHOP_RATE")),
    )
