"""The service unit and the image, read as the programs read them that run them: no more rights than needed, and time to stop."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from adapters.settings import parse_duration
from collector.run import DRAIN, SEALING
from simulators.health import trouble
from tests.line.harness import eventually

DEPLOY = Path(__file__).parents[2] / "deploy"
UNIT = DEPLOY / "systemd" / "shopfloor-collector.service"
IMAGE = DEPLOY / "container" / "Containerfile"
SIMULATORS = DEPLOY / "container" / "simulators.Containerfile"


def directives() -> dict[str, list[str]]:
    """Every `Key=value` of the unit; a key may come several times."""
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        if match := re.match(r"^([A-Za-z]+)=(.*)$", line):
            found.setdefault(match[1], []).append(match[2])
    return found


def test_the_unit_is_hardened() -> None:
    """S19: no capability, no new privileges, nothing to write but its state, a user of its own; by systemd's own measure where it is here."""
    unit = directives()
    for name in ("NoNewPrivileges", "ProtectHome", "PrivateTmp", "PrivateDevices", "ProtectKernelTunables",
                 "ProtectKernelModules", "ProtectControlGroups", "RestrictNamespaces", "RestrictSUIDSGID",
                 "LockPersonality", "DynamicUser"):  # fmt: skip
        assert unit[name] == ["yes"], name
    assert unit["CapabilityBoundingSet"] == [""]
    assert unit["ProtectSystem"] == ["strict"]
    assert unit["UMask"] == ["0077"]
    assert unit["StateDirectoryMode"] == ["0700"]
    assert "User" not in unit
    assert unit["LoadCredential"]
    tool = shutil.which("systemd-analyze")
    if tool is not None:
        command = [tool, "security", "--offline=true", "--threshold=15", "--no-pager", str(UNIT)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr


def test_the_unit_restarts_waits_and_watches() -> None:
    """S19: restart on failure but not on a refused configuration, more time to stop than the stop takes, a watchdog that is fed."""
    unit = directives()
    assert unit["Type"] == ["notify"]
    assert unit["Restart"] == ["on-failure"]
    assert unit["RestartPreventExitStatus"] == ["78"]
    assert parse_duration(unit["TimeoutStopSec"][0]) > DRAIN + SEALING + 10
    assert parse_duration(unit["WatchdogSec"][0]) >= 10
    assert unit["ExecReload"][0].endswith("reload --state /var/lib/shopfloor-collector")


@pytest.mark.parametrize(
    ("image", "volume", "asks"), [(IMAGE, "/state", '"status"'), (SIMULATORS, "/data", '"health"')]
)
def test_the_image_runs_without_rights(image: Path, volume: str, asks: str) -> None:
    """S20: a fixed user that is not root, one place to write, a health check, nothing downloaded without its checksum."""
    lines = image.read_text().splitlines()
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users == ["10001:10001"]
    assert lines.index("USER 10001:10001") < next(
        n for n, line in enumerate(lines) if line.startswith("ENTRYPOINT")
    )
    assert f'VOLUME ["{volume}"]' in lines
    assert any(line.startswith("HEALTHCHECK") and asks in line for line in lines)
    installs = [line for line in lines if "pip install" in line]
    assert all("--require-hashes" in line or "--no-deps" in line for line in installs)
    assert not any(line.startswith(("ADD ", "EXPOSE ")) or "curl" in line or "http" in line for line in lines)


def exec_form(image: Path, instruction: str) -> list[str]:
    """The words of ENTRYPOINT, CMD, or the CMD of a HEALTHCHECK."""
    line = next(line for line in image.read_text().splitlines() if line.startswith(instruction + " "))
    words: list[str] = json.loads(line[line.index("[") :])
    return words


def test_the_simulators_image_starts_is_well_and_stops(tmp_path: Path) -> None:
    """Its very command and its very health check, on other ports and in another folder; the checks of the port that both must name."""
    entry, command = exec_form(SIMULATORS, "ENTRYPOINT"), exec_form(SIMULATORS, "CMD")
    check = exec_form(SIMULATORS, "HEALTHCHECK")
    assert entry == check[:1] == ["shopfloor-sim"]
    asked = command[command.index("--control") + 1]
    assert check[1:] == ["health", asked]
    moved = {"/data": str(tmp_path), "4840": "0", asked: "0", "0.0.0.0": "127.0.0.1"}
    running = subprocess.Popen(
        [sys.executable, "-P", "-m", "simulators", *(moved.get(word, word) for word in command)],
        stdout=subprocess.PIPE,
        text=True,
    )
    with running:
        assert running.stdout is not None
        ready = json.loads(running.stdout.readline())
        port = ready["endpoints"]["control"].rpartition(":")[2]
        eventually(lambda: trouble(int(port)) == "", "it is well")
        assert ready["endpoints"]["cnc-1"].startswith("opc.tcp://localhost:")
        running.terminate()
        assert running.wait(120) == 0
    assert "Does a run with --control" in trouble(int(port))
    assert {"collector.yaml", "truth.jsonl"} <= {path.name for path in tmp_path.iterdir()}


def test_the_simulators_composition_is_read_only_and_for_this_computer() -> None:
    """As the collector's, but with ports: of the loopback only, and just those that the machines of the image listen on."""
    read = YAML(typ="safe").load((DEPLOY / "container" / "simulators.yaml").read_text())
    service = read["services"]["simulators"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["ports"] == ["127.0.0.1:4840-4841:4840-4841"]
    assert service["volumes"] == ["data:/data"]
    assert {"mem_limit", "pids_limit", "ulimits", "tmpfs"} <= service.keys()


@pytest.fixture
def service() -> Any:
    return YAML(typ="safe").load((DEPLOY / "container" / "compose.yaml").read_text())["services"]["collector"]


def test_the_composition_is_read_only(service: Any) -> None:
    """S20: read-only root, no capability, no new privileges, no published port, bounded memory and processes."""
    assert service["user"] == "10001:10001"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "ports" not in service
    assert "privileged" not in service
    assert {"mem_limit", "pids_limit", "ulimits", "tmpfs"} <= service.keys()
    assert parse_duration(service["stop_grace_period"]) > DRAIN + SEALING + 10
    assert [volume for volume in service["volumes"] if not volume.endswith(":ro")] == ["state:/state"]


def test_an_image_is_made_of_the_program_alone() -> None:
    """No state, no secrets and no .venv of whoever builds it; all that the wheel is made of."""
    top = IMAGE.parents[2]
    lines = (top / ".dockerignore").read_text().splitlines()
    allowed = {line[1:].rstrip("/") for line in lines if line.startswith("!")}
    assert lines[1] == "*", "what is not named stays out"
    project = tomllib.loads((top / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    about = [project["project"]["readme"], *project["project"]["license-files"]]
    assert allowed == {*wheel, *about, "pyproject.toml", "locks"}
    for image in (IMAGE, SIMULATORS):
        copied = re.findall(r"^COPY (?!--from)(\S+)", image.read_text(), re.MULTILINE)
        assert {word.partition("/")[0] for word in copied} <= {*allowed, "."}
