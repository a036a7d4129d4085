"""The service `restock`: reads the movements of stock, as who orders what runs low."""

from demo.shop.reader import CLASSIC, commit_position, run_reader

if __name__ == "__main__":
    run_reader("restock", ["stock"], {**CLASSIC, "auto.offset.reset": "earliest"}, commit_position)
