"""The service `audit`: a group of the KIP-848 protocol that starts at the end where it has no offset."""

from demo.shop.reader import commit_position, run_reader

if __name__ == "__main__":
    run_reader(
        "audit",
        ["orders", "payments"],
        {"auto.offset.reset": "latest", "group.protocol": "consumer", "isolation.level": "read_committed"},
        commit_position,
    )
