"""docker-compose.yaml and what belongs to it: whatever it names exists, nothing secret has a default, all is pinned."""

from __future__ import annotations

import importlib
import json
import re
import stat
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docker-compose.yaml").read_text(encoding="utf-8")
FILE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
EXAMPLE = (ROOT / ".env.compose.example").read_text(encoding="utf-8")
VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)(?:(:?[-?])([^}]*))?\}")
SECRET = re.compile(r"(PASSWORD|SECRET|KEY)$")
ONE_SHOT = {"init", "connections", "migration"}
KEYS = {
    "image",
    "build",
    "user",
    "restart",
    "environment",
    "volumes",
    "depends_on",
    "command",
    "pid",
    "stop_grace_period",
    "healthcheck",
    "profiles",
    "ports",
    "hostname",
}


def documented() -> dict[str, str]:
    return dict(re.findall(r"^([A-Z_]+)=(.*)$", EXAMPLE, re.MULTILINE))


def module(name: str) -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "compose")
        return importlib.import_module(name)


def test_only_keys_that_both_compose_programs_know_are_used() -> None:
    assert {key for key in FILE if not key.startswith("x-")} == {"services", "volumes"}
    assert {name: set(service) - KEYS for name, service in SERVICES.items() if set(service) - KEYS} == {}


def test_every_volume_that_is_mounted_is_declared_and_every_path_exists() -> None:
    used = set()
    for service in SERVICES.values():
        for volume in service.get("volumes", ()):
            source = VARIABLE.sub(lambda match: match[3] or "", volume).split(":")[0]
            if source.startswith("."):
                assert (ROOT / source).exists(), source
            else:
                used.add(source)
    assert used == set(FILE["volumes"])


def test_every_file_of_the_project_that_a_container_runs_is_in_the_image() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    let_in = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE)
    for source in re.findall(r"^COPY (?:--\S+ )?(\S+) ", dockerfile, re.MULTILINE):
        assert (ROOT / source).exists()
        assert source in let_in
    for named in re.findall(r"/opt/airflow/(compose/[\w.]+)", TEXT):
        assert (ROOT / named).is_file(), named
    for named in re.findall(r"-m, ([\w.]+)", TEXT):
        assert (ROOT / "include" / f"{named.replace('.', '/')}.py").is_file(), named


def test_every_variable_is_told_of_in_the_example_with_the_default_of_the_file() -> None:
    defaults = {name: default for name, operator, default in VARIABLE.findall(TEXT) if operator == ":-"}
    named = {match[0] for match in VARIABLE.findall(TEXT)}
    assert named == set(documented())
    assert {name: documented()[name] for name in defaults} == defaults


def test_no_secret_has_a_default_and_nothing_starts_without_it() -> None:
    secrets = {name for name in documented() if SECRET.search(name)}
    assert {name: documented()[name] for name in secrets} == dict.fromkeys(secrets, "")
    for name in secrets:
        operators = {operator for found, operator, _ in VARIABLE.findall(TEXT) if found == name}
        assert ":?" in operators, f"{name} may be empty"
        assert operators <= {":?", ""}, f"{name} has a default"


def test_every_image_is_pinned_and_can_be_replaced() -> None:
    images = {name: service["image"] for name, service in SERVICES.items()}
    images["Dockerfile"] = SERVICES["init"]["build"]["args"]["AIRFLOW_IMAGE"]
    for name, image in images.items():
        found = VARIABLE.fullmatch(image)
        assert found, f"{name}: {image} cannot be replaced"
        tag = found[3].partition(":")[2]
        assert re.match(r"\d+\.\d+", tag), f"{name}: {image} is not pinned"
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert f"ARG AIRFLOW_IMAGE={documented()['AIRFLOW_IMAGE']}\nFROM ${{AIRFLOW_IMAGE}}\n" in dockerfile


def test_airflow_and_kafka_are_of_the_versions_that_everything_else_here_runs_on() -> None:
    locked = re.search(r"^apache-airflow==(\S+)", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert locked
    assert documented()["AIRFLOW_IMAGE"].startswith(f"apache/airflow:{locked[1]}-")
    assert (ROOT / f"include/demo/kafka-{documented()['KAFKA_IMAGE'].partition(':')[2]}.lock.toml").is_file()


def test_what_runs_on_has_a_health_check_and_is_started_again() -> None:
    for name, service in SERVICES.items():
        if name in ONE_SHOT:
            assert service["restart"] == "no"
        else:
            assert service["restart"] == "unless-stopped", name
            assert service["healthcheck"]["test"], name


def test_whoever_is_waited_for_can_get_well_and_belongs_to_the_same_profile() -> None:
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            done = how["condition"] == "service_completed_successfully"
            assert done is (other in ONE_SHOT), f"{name} waits for {other}"
            # The demo's parts come on top of what has no profile, never the other way round.
            assert set(SERVICES[other].get("profiles", ())) <= set(service.get("profiles", ())), f"{name}: {other}"


def test_ports_do_not_collide_and_are_open_to_this_machine_alone() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert len({port.split(":")[1] for port in ports}) == len(ports)


def test_airflow_runs_as_nobody_special_with_one_log_volume() -> None:
    for name in ("api-server", "scheduler", "dag-processor", "triggerer", "worker-1", "worker-2"):
        assert SERVICES[name]["user"] == "50000:0"
        assert "logs:/opt/airflow/logs" in SERVICES[name]["volumes"], name


def test_the_demo_leaves_one_zone_for_three() -> None:
    def racks(side: str) -> list[str]:
        return [
            one["environment"]["KAFKA_BROKER_RACK"] for name, one in SERVICES.items() if name.startswith(f"{side}-")
        ]

    assert racks("source") == ["zone-a", "zone-a"]
    assert racks("target") == ["zone-a", "zone-b", "zone-c"]


def test_requirements_and_lock_agree() -> None:
    locked = set(re.findall(r"^([\w.-]+)==", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE))
    for line in (ROOT / "requirements.in").read_text(encoding="utf-8").splitlines():
        name = re.match(r"[\w-]+", line)
        assert name is None or name[0] in locked, line
    assert {"apache-airflow-providers-celery", "redis"} <= locked


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ({"scheduler": {"status": "healthy"}}, None),
        ({"scheduler": {"status": "unhealthy"}}, "scheduler is unhealthy"),
        ({"scheduler": {"status": None}}, "scheduler is None"),
        ({"triggerer": {"status": "healthy"}}, "the health answer tells nothing of scheduler"),
        ("not well", "the health answer tells nothing of scheduler"),
    ],
)
def test_health_is_read_from_the_body(answer: object, problem: str | None) -> None:
    assert module("health").problem_of("scheduler", json.dumps(answer)) == problem


def test_the_env_file_gets_random_secrets_once_and_is_for_its_owner(tmp_path: Path) -> None:
    environment = module("environment")
    file = tmp_path / "env"
    assert environment.write(file)
    first = file.read_text(encoding="utf-8")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    values = dict(re.findall(r"^([A-Z_]+)=(.*)$", first, re.MULTILINE))
    secrets = [values[name] for name in values if SECRET.search(name)]
    assert len(set(secrets)) == len(secrets) == 6
    assert all(len(value) >= 40 for value in secrets)
    assert not environment.write(file)
    assert file.read_text(encoding="utf-8") == first


def test_a_secret_that_was_chosen_stays_and_is_warned_of_when_it_can_be_guessed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "env"
    file.write_text(
        "AIRFLOW_ADMIN_PASSWORD=admin\nPOSTGRES_PASSWORD=chosen by hand\nREDIS_PASSWORD=\n", encoding="utf-8"
    )
    assert module("environment").main(str(file)) is None
    content = file.read_text(encoding="utf-8")
    assert content.startswith("AIRFLOW_ADMIN_PASSWORD=admin\nPOSTGRES_PASSWORD=chosen by hand\n")
    assert re.search(r"^REDIS_PASSWORD=\S{40,}$", content, re.MULTILINE)
    assert "WARNING: AIRFLOW_ADMIN_PASSWORD in .env.compose can be guessed" in capsys.readouterr().err


def test_an_env_file_that_cannot_be_made_is_told_of_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    problem = module("environment").main(str(tmp_path / "file" / ".env.compose"))
    assert re.search(r"\.env\.compose cannot be made or read: Not a directory", problem)


def test_passwords_that_anyone_would_guess_are_warned_of() -> None:
    init = module("init")
    good = "q8vLx0Rz2mPw7sTd"
    guessed = {"AIRFLOW_ADMIN_PASSWORD": "airflow", "POSTGRES_PASSWORD": good, "REDIS_PASSWORD": ""}
    assert init.weak(guessed) == ["AIRFLOW_ADMIN_PASSWORD", "REDIS_PASSWORD"]
    assert init.weak(dict.fromkeys(guessed, good)) == []
    assert "WARNING: AIRFLOW_ADMIN_PASSWORD" in init.warning(init.weak(guessed))
