"""What an engine is asked to create in a container's place: the same, but for the variables."""

from __future__ import annotations

from typing import Any

from kafka_migration.services.docker_engine import log_text
from kafka_migration.services.recreated import creation, environment, further_networks


def described(**changes: Any) -> dict[str, Any]:
    return {
        "Id": "0123456789abcdef",
        "Name": "/shop-billing-1",
        "Config": {
            "Env": ["PATH=/bin", "KAFKA_BOOTSTRAP_SERVERS=old:9092", "OPTS=-Da=b"],
            "Hostname": "0123456789ab",
            "Image": "billing:1.2",
            "Cmd": ["billing"],
            "Entrypoint": None,
            "Labels": {"com.docker.compose.service": "billing"},
        },
        "HostConfig": {"Binds": ["named:/data:rw"], "NetworkMode": "shop_default", "RestartPolicy": {"Name": "no"}},
        "Mounts": [
            {"Type": "volume", "Name": "named", "Destination": "/data"},
            {"Type": "volume", "Name": "f00d", "Destination": "/cache"},
        ],
        "NetworkSettings": {
            "Networks": {
                "shop_default": {"Aliases": ["billing", "0123456789ab"], "IPAMConfig": None, "IPAddress": "10.0.0.2"},
                "back": {"Aliases": ["billing"], "IPAMConfig": {"IPv4Address": "10.0.1.9"}},
            }
        },
        **changes,
    }


def test_only_the_variables_change() -> None:
    body = creation(described(), {"KAFKA_BOOTSTRAP_SERVERS": "new:9092", "SASL_USERNAME": "billing"})
    assert body["Env"] == ["PATH=/bin", "KAFKA_BOOTSTRAP_SERVERS=new:9092", "OPTS=-Da=b", "SASL_USERNAME=billing"]
    assert (body["Image"], body["Cmd"], body["Labels"]) == (
        "billing:1.2",
        ["billing"],
        {"com.docker.compose.service": "billing"},
    )
    assert body["HostConfig"]["RestartPolicy"] == {"Name": "no"}
    assert environment(described())["OPTS"] == "-Da=b"


def test_a_volume_without_a_name_comes_along() -> None:
    assert creation(described(), {})["HostConfig"]["Binds"] == ["named:/data:rw", "f00d:/cache"]


def test_a_name_made_from_the_former_id_does_not_come_along() -> None:
    body = creation(described(), {})
    assert "Hostname" not in body
    assert body["NetworkingConfig"]["EndpointsConfig"]["shop_default"]["Aliases"] == ["billing"]


def test_a_name_that_was_chosen_comes_along() -> None:
    chosen = described()
    chosen["Config"]["Hostname"] = "billing"
    assert creation(chosen, {})["Hostname"] == "billing"


def test_it_is_in_the_same_networks() -> None:
    assert list(creation(described(), {})["NetworkingConfig"]["EndpointsConfig"]) == ["shop_default"]
    assert further_networks(described())["back"]["IPAMConfig"] == {"IPv4Address": "10.0.1.9"}


def test_one_in_the_network_of_its_host_is_put_into_no_other() -> None:
    on_host = described(HostConfig={"NetworkMode": "host"})
    assert creation(on_host, {})["NetworkingConfig"]["EndpointsConfig"] == {}


def test_the_heads_of_a_log_are_taken_off() -> None:
    pieces = b"\x01\0\0\0\0\0\0\x06first\n" + b"\x02\0\0\0\0\0\0\x07second\n"
    assert log_text(pieces) == "first\nsecond\n"
    assert log_text(b"of a terminal\n") == "of a terminal\n"
