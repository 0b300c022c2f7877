"""Secrets come from outside the file and are shown nowhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.explain import explain
from config.load import Loaded, load
from config.problems import render
from tests.config.samples import GOOD

SECRET = "hunter2-Zq9"
SECURE = """\
version: 1
sources:
  plc: {type: opcua, url: "opc.tcp://h", username: u, password: PASSWORD}
machines:
  - {id: m, source: plc, signals: [{name: a, node: "i=5"}]}
"""


def loaded(folder: Path, text: str, env: dict[str, str] | None = None) -> Loaded:
    (folder / "c.yaml").write_text(text, encoding="utf-8")
    return load([folder / "c.yaml"], env=env or {})


def shown(result: Loaded) -> str:
    parts = [repr(result), str(result), render(result.problems)]
    if result.settings is not None:
        parts += [
            repr(result.settings),
            str(result.settings),
            result.settings.model_dump_json(),
            *explain(result.settings),
        ]
    return "\n".join(parts)


def secret_of(result: Loaded) -> str:
    assert result.settings is not None, result.problems
    password = getattr(result.settings.sources["plc"], "password", None)
    assert password is not None
    return str(password.get_secret_value())


def test_from_the_environment(tmp_path: Path) -> None:
    result = loaded(tmp_path, SECURE.replace("PASSWORD", '"${env:PW}"'), {"PW": SECRET})
    assert secret_of(result) == SECRET
    assert SECRET not in shown(result)


def test_from_the_credentials_of_the_service(tmp_path: Path) -> None:
    """What is not beside the configuration is looked for where systemd puts it; what is there wins."""
    given = tmp_path / "given"
    given.mkdir()
    (given / "plc").write_text(SECRET + "\n")
    (given / "plc").chmod(0o400)
    text, env = SECURE.replace("PASSWORD", '"${file:plc}"'), {"CREDENTIALS_DIRECTORY": str(given)}
    result = loaded(tmp_path, text, env)
    assert secret_of(result) == SECRET
    assert SECRET not in shown(result)
    assert given / "plc" in result.files
    assert loaded(tmp_path, text).settings is None
    assert loaded(tmp_path, text.replace("file:plc", "file:absent"), env).settings is None
    (tmp_path / "plc").write_text("beside")
    (tmp_path / "plc").chmod(0o600)
    assert secret_of(loaded(tmp_path, text, env)) == "beside"


def test_from_a_file_beside_the_configuration(tmp_path: Path) -> None:
    secret = tmp_path / "secrets" / "plc"
    secret.parent.mkdir()
    secret.write_text(SECRET + "\n")
    secret.chmod(0o600)
    result = loaded(tmp_path, SECURE.replace("PASSWORD", '"${file:secrets/plc}"'))
    assert secret_of(result) == SECRET
    assert secret in result.files
    assert not [p for p in result.problems if "secret file" in p.message]
    assert SECRET not in shown(result)


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_a_file_that_everybody_reads_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text(SECRET)
    (tmp_path / "pw").chmod(0o644)
    result = loaded(tmp_path, SECURE.replace("PASSWORD", '"${file:pw}"'))
    (warning,) = [p for p in result.warnings if "everybody" in p.message]
    assert (warning.line, warning.hint.startswith("chmod 600")) == (3, True)
    assert secret_of(result) == SECRET


def test_a_literal_is_a_warning_and_not_shown(tmp_path: Path) -> None:
    result = loaded(tmp_path, SECURE.replace("PASSWORD", SECRET))
    assert [p.line for p in result.warnings if "a secret stands in the file" in p.message] == [3]
    assert secret_of(result) == SECRET
    assert SECRET not in shown(result)


@pytest.mark.parametrize("old", ["opc.tcp://h", "i=5", "username: u", "id: m", "name: a"])
def test_a_secret_in_the_wrong_place_is_blotted_out(tmp_path: Path, old: str) -> None:
    key = old.rpartition(": ")[0]
    new = f'{key}: "${{env:PW}} \\t"' if key else "${env:PW}"
    result = loaded(tmp_path, SECURE.replace("PASSWORD", '"${env:PW}"').replace(old, new), {"PW": SECRET})
    assert SECRET not in render(result.problems)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"x" * 70_000])
def test_unusable_secret_files(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "pw").write_bytes(content)
    (tmp_path / "pw").chmod(0o600)
    result = loaded(tmp_path, SECURE.replace("PASSWORD", '"${file:pw}"'))
    assert [p.line for p in result.errors] == [3]


def test_a_folder_and_impossible_names_are_no_secret_files(tmp_path: Path) -> None:
    for name in (".", "a\\0b", "x" * 5000):
        assert loaded(tmp_path, SECURE.replace("PASSWORD", f'"${{file:{name}}}"')).errors


def test_bytes_of_the_environment_that_are_no_text(tmp_path: Path) -> None:
    result = loaded(tmp_path, SECURE.replace("PASSWORD", '"${env:PW}"'), {"PW": "a\udcff"})
    assert "not UTF-8" in result.errors[0].message


@pytest.mark.parametrize("token", ["${env:NOPE}", "Bearer ${env:NOPE}", "${file:nowhere}"])
def test_what_was_not_found_is_one_error_and_not_two(tmp_path: Path, token: str) -> None:
    sink = f'sinks: [{{type: influxdb, url: "http://h:8086", org: o, bucket: b, token: "{token}"}}]'
    found = loaded(tmp_path, SECURE.replace("PASSWORD", '"${env:P}"') + sink, {"P": SECRET}).errors
    assert len(found) == 1, found
    assert "is not set" in found[0].message or "cannot be read" in found[0].message


@pytest.mark.parametrize(
    ("written", "meant"), [("a$${env:X}$", "a${env:X}$"), ("a$$${b", "a$${b"), ("$$${{", "$${{")]
)
def test_a_literal_reference(tmp_path: Path, written: str, meant: str) -> None:
    """It stands in the file, however many dollars are in front of it."""
    result = loaded(tmp_path, SECURE.replace("PASSWORD", f'"{written}"'))
    assert secret_of(result) == meant
    assert any("a secret stands in the file" in problem.message for problem in result.warnings)


def test_keys_are_not_expanded(tmp_path: Path) -> None:
    result = loaded(tmp_path, GOOD.replace("  plc:", '  "${env:PW}":'), {"TOKEN": "t", "PW": "plc"})
    assert any("no source 'plc'" in p.message for p in result.errors)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(secret=st.text(st.characters(codec="utf-8"), min_size=4, max_size=20))
def test_whatever_it_is_it_arrives_whole_and_is_never_read_again(tmp_path: Path, secret: str) -> None:
    result = loaded(tmp_path, SECURE.replace("PASSWORD", '"${env:PW}"'), {"PW": secret})
    assert secret_of(result) == secret
