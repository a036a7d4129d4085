"""The `docker` controller on a real engine. Left out where none answers, or where no local base image is there.

`make compose-check` makes the image; DOCKER_HOST names the engine's unix socket.
"""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kafka_migration.errors import ServiceNotBack
from kafka_migration.plan.model import Service
from kafka_migration.services.controller import State
from kafka_migration.services.docker import DockerController, DockerSettings
from kafka_migration.sides import Addresses, Side

SOCKET = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")
IMAGE = "kafka-migration-local/base"
WELL = 'test -n "$KAFKA_BOOTSTRAP_SERVERS" && test "$KAFKA_BOOTSTRAP_SERVERS" != broken'


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout.strip()


def there_is_an_engine() -> bool:
    if not Path(SOCKET).is_socket():
        return False
    return subprocess.run(["docker", "image", "inspect", IMAGE], capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(not there_is_an_engine(), reason="no Docker engine with the local base image")


class Stage:
    """One container with compose's labels, as `docker compose up` would leave it."""

    def __init__(self, folder: Path) -> None:
        self.project = f"test{secrets.token_hex(4)}"
        self.file = folder / "billing.env"
        self.file.write_text("# of billing\nKAFKA_BOOTSTRAP_SERVERS=old:9092\nLEVEL=info\n", encoding="utf-8")
        self.name = f"{self.project}-billing-1"
        labels = {"project": self.project, "service": "billing", "oneoff": "False"}
        docker(
            *("run", "--detach", "--name", self.name, "--env-file", str(self.file), "--volume", "/kept"),
            *(word for key, value in labels.items() for word in ("--label", f"com.docker.compose.{key}={value}")),
            *("--restart", "unless-stopped", "--health-cmd", WELL, "--health-interval", "1s", "--health-retries", "2"),
            *(IMAGE, "sh", "-c", "echo it began; trap 'exit 0' TERM; while :; do sleep 0.2; done"),
        )

    @property
    def controller(self) -> DockerController:
        service = Service.model_validate({"name": "billing", "produces": ["a"], "controller": {"kind": "docker"}})
        settings = DockerSettings(connection="engine", service="billing", env_file="billing.env")
        extra = {"socket": SOCKET, "project": self.project, "env_directory": str(self.file.parent)}
        return DockerController(service, settings, Addresses("old:9092", "new:9092"), lambda _: extra)

    def containers(self) -> list[str]:
        label = f"label=com.docker.compose.project={self.project}"
        return docker("ps", "--all", "--format", "{{.Names}}", "--filter", label).split()

    def clear(self) -> None:
        for name in self.containers():
            docker("rm", "--force", "--volumes", name)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    stage.clear()


def test_a_service_is_moved_to_the_target_and_keeps_what_it_stored(stage: Stage) -> None:
    docker("exec", stage.name, "sh", "-c", "echo mine > /kept/file")
    controller = stage.controller
    assert controller.check() == []
    assert controller.observe().side is Side.SOURCE
    controller.stop()
    controller.stop()
    assert controller.observe().state is State.STOPPED
    assert controller.configure(Side.TARGET) == ["KAFKA_BOOTSTRAP_SERVERS: old:9092 -> new:9092"]
    assert controller.configure(Side.TARGET) == []
    controller.start()
    seen = controller.observe()
    assert (seen.state, seen.side, seen.configured) == (State.RUNNING, Side.TARGET, "new:9092")
    assert stage.containers() == [stage.name]
    assert docker("exec", stage.name, "cat", "/kept/file") == "mine"
    before = docker("inspect", "--format", "{{.Id}}", stage.name)
    controller.start()
    assert docker("inspect", "--format", "{{.Id}}", stage.name) == before


def test_a_file_that_was_changed_and_not_picked_up_is_no_move(stage: Stage) -> None:
    stage.controller.configure(Side.TARGET)
    seen = stage.controller.observe()
    assert (seen.side, seen.configured) == (Side.SOURCE, "new:9092")


def test_a_start_that_was_killed_before_the_former_container_was_gone_is_made_again(stage: Stage) -> None:
    controller = stage.controller
    controller.stop()
    controller.configure(Side.TARGET)
    labels = docker(
        "inspect", "--format", "{{range $k, $v := .Config.Labels}}--label={{$k}}={{$v}} {{end}}", stage.name
    )
    docker("create", "--name", f"{stage.name}-next", *labels.split(), IMAGE, "true")
    controller.start()
    assert controller.observe().side is Side.TARGET
    assert stage.containers() == [stage.name]


def test_a_start_that_was_killed_after_the_former_container_was_gone_goes_on(stage: Stage) -> None:
    controller = stage.controller
    controller.stop()
    docker("rename", stage.name, f"{stage.name}-next")
    controller.configure(Side.TARGET)
    controller.start()
    assert controller.observe().side is Side.TARGET
    assert stage.containers() == [stage.name]


def test_one_that_does_not_get_well_is_told_of_with_its_log(stage: Stage) -> None:
    controller = stage.controller
    controller.stop()
    stage.file.write_text("KAFKA_BOOTSTRAP_SERVERS=broken\n", encoding="utf-8")
    with pytest.raises(ServiceNotBack, match=r"unhealthy(.|\n)*it began"):
        controller.start()


def test_a_container_that_is_always_started_again_is_refused(stage: Stage) -> None:
    docker("update", "--restart", "always", stage.name)
    assert "restart: unless-stopped" in stage.controller.check()[0]
