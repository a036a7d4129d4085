"""The same container once more with other variables: what an engine is asked to create. It asks nobody."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def environment(described: Mapping[str, Any]) -> dict[str, str]:
    """The variables that a container was created with."""
    entries = (str(entry).partition("=") for entry in described["Config"].get("Env") or ())
    return {name: value for name, _, value in entries}


def creation(described: Mapping[str, Any], variables: Mapping[str, str]) -> dict[str, Any]:
    """The body that creates a container like the described one, with these variables changed or added.

    Its volumes are the same ones, those without a name too. It is in one network; `further_networks` names the others.
    """
    config = {key: value for key, value in described["Config"].items() if value is not None}
    if config.get("Hostname") == described["Id"][:12]:
        del config["Hostname"]  # made from the old one's id
    config["Env"] = [f"{name}={value}" for name, value in {**environment(described), **variables}.items()]
    host = dict(described["HostConfig"])
    host["Binds"] = [*(host.get("Binds") or ()), *_unnamed_volumes(described)]
    networks = list(_networks(described).items())
    return {**config, "HostConfig": host, "NetworkingConfig": {"EndpointsConfig": dict(networks[:1])}}


def further_networks(described: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The networks beyond the first, each with the names that the container has in it."""
    return dict(list(_networks(described).items())[1:])


def _networks(described: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    if str(described["HostConfig"].get("NetworkMode", "")).partition(":")[0] in ("host", "none", "container"):
        return {}
    found = {}
    for name, one in described["NetworkSettings"]["Networks"].items():
        aliases = [alias for alias in one.get("Aliases") or () if alias != described["Id"][:12]]
        found[name] = {"Aliases": aliases, "IPAMConfig": one.get("IPAMConfig"), "Links": one.get("Links")}
    return found


def _unnamed_volumes(described: Mapping[str, Any]) -> list[str]:
    host = described["HostConfig"]
    told = {str(bind).split(":")[1] for bind in host.get("Binds") or ()}
    told |= {str(mount["Target"]) for mount in host.get("Mounts") or ()}
    return [
        f"{mount['Name']}:{mount['Destination']}"
        for mount in described.get("Mounts") or ()
        if mount.get("Type") == "volume" and mount["Destination"] not in told
    ]
