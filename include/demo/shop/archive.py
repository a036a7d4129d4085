"""The service `archive`: reads the stored events to their end, whenever somebody runs it."""

from demo.shop.reader import CLASSIC, commit_position, run_reader

if __name__ == "__main__":
    run_reader("archive", ["events"], {**CLASSIC, "auto.offset.reset": "error"}, commit_position)
