"""The service `billing`: a plain consumer of orders that commits its position."""

from demo.shop.reader import commit_position, run_reader

if __name__ == "__main__":
    run_reader("billing", ["orders"], {"auto.offset.reset": "earliest"}, commit_position)
