"""The second wheel, installed alone: the example project with its own `config.py` and `collector.py` passes its tests.

The environment is a new one and the wheel is built and installed by pip as anybody would; only what it depends on is lent by
this project's environment, so that nothing is fetched. The lent folder is a plain path: what is installed there as editable,
and with it our own `config` and `collector`, is not seen.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = ROOT / "examples/own-tests"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The python of an environment that has the simulators' wheel and nothing else of ours."""
    folder = tmp_path_factory.mktemp("alone")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT / "simulators", check=True, capture_output=True)
    (wheel,) = folder.glob("shopfloor_simulators-*.whl")
    venv.create(folder / "venv", symlinks=True)
    python = folder / "venv/bin/python"
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        str(wheel),
    ]
    subprocess.run(install, check=True, capture_output=True, text=True)
    paths = sysconfig.get_paths(vars={"base": str(folder / "venv"), "platbase": str(folder / "venv")})
    (Path(paths["purelib"]) / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return python


def clean() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "PYTEST", "VIRTUAL_ENV"))
    }


def test_the_wheel_holds_only_the_simulators(installed: Path) -> None:
    code = (
        "import importlib.util as u, simulators, sys; print(simulators.__file__);"
        "print([name for name in ('collector', 'config', 'adapters', 'pipelines') if u.find_spec(name)])"
    )
    done = subprocess.run(
        [installed, "-P", "-c", code], capture_output=True, text=True, check=True, env=clean()
    )
    place, found = done.stdout.splitlines()
    assert Path(place).is_relative_to(installed.parent.parent)
    assert found == "[]"


def test_the_command_is_there(installed: Path) -> None:
    done = subprocess.run(
        [installed.with_name("shopfloor-sim"), "list"],
        capture_output=True,
        text=True,
        check=True,
        env=clean(),
    )
    assert "Five-axis machining centre" in done.stdout


@pytest.mark.timeout(1500)
def test_the_example_project_passes(installed: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(EXAMPLE, project, ignore=shutil.ignore_patterns("__pycache__"))
    environment = {**clean(), "SHOPFLOOR_COLLECTOR": f"{sys.executable} -P -m collector"}
    done = subprocess.run(
        [installed, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-rA"],
        cwd=project, env=environment, capture_output=True, text=True, timeout=1200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "10 passed" in done.stdout
