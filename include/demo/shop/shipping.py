"""The service `shipping`: commits the offset of each last record explicitly, as many applications do."""

from demo.shop.reader import CLASSIC, commit_records, run_reader

if __name__ == "__main__":
    run_reader(
        "shipping",
        ["shipments"],
        {**CLASSIC, "auto.offset.reset": "earliest", "isolation.level": "read_committed"},
        commit_records,
    )
