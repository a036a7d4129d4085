"""The service `billing`: a plain consumer of orders that commits its position."""

from demo.shop.reader import CLASSIC, commit_position, run_reader

if __name__ == "__main__":
    run_reader("billing", ["orders"], {**CLASSIC, "auto.offset.reset": "earliest"}, commit_position)
