"""The compose file: valid, on this machine only, and the very services of `make up-local`."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.stack import CLIENT_ENVIRONMENT, SERVER_ENVIRONMENT, server_command
from tests.conftest import REPOSITORY

FILE = REPOSITORY / "docker-compose.yml"
SCHEMA = Path("/usr/lib/python3/dist-packages/compose/config/compose_spec.json")
"""Of the compose specification, as Debian's docker-compose ships it."""
VARIABLE = re.compile(r"\$\{(\w+)(:\?)?")
SECRETS = {"POSTGRES_PASSWORD", "S3_ACCESS_KEY", "S3_SECRET_KEY"}


def compose(command: list[str], given: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run docker compose with these secrets in its environment, and no others."""
    environment = {name: value for name, value in os.environ.items() if name not in SECRETS} | given
    return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(FILE.read_text())["services"]
    return found


def test_it_is_valid_and_wants_secrets_of_its_own() -> None:
    """By compose itself where it is installed, else by the specification's schema."""
    for command in (["docker-compose"], ["docker", "compose"]):
        if (
            shutil.which(command[0])
            and not subprocess.run([*command, "version"], capture_output=True).returncode
        ):
            config = [*command, "--env-file", ".env.example", "-f", str(FILE), "config", "--quiet"]
            checked = compose(config, dict.fromkeys(SECRETS, "d41d8cd98f"))
            assert checked.returncode == 0, checked.stderr
            refused = compose(config, {})  # the example as it is
            assert refused.returncode != 0
            assert "fill it in" in refused.stderr
            return
    if not SCHEMA.is_file():
        pytest.skip(f"neither docker compose nor the specification's schema ({SCHEMA}) is here")
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(yaml.safe_load(FILE.read_text()), json.loads(SCHEMA.read_text()))


def test_the_commands_are_those_of_plain_processes(services: dict[str, Any]) -> None:
    prefect = ["python", "-m", "prefect"]
    assert services["server"]["command"] == [*prefect, *server_command("0.0.0.0", 4200)]  # noqa: S104 - inside the container
    assert services["worker"]["command"][:3] == ["python", "-m", "flows.worker"]
    assert services["deploy"]["command"] == ["python", "-m", "flows.deployments"]
    assert services["server"]["environment"].items() >= SERVER_ENVIRONMENT.items()
    for name in ("worker", "worker-gpu", "deploy"):
        assert services[name]["environment"].items() >= CLIENT_ENVIRONMENT.items()


def test_nothing_is_reachable_from_elsewhere(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", ())]
    assert len(ports) == 3
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert not any("network_mode" in service for service in services.values())


def test_every_service_is_pinned_and_watched(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert re.fullmatch(r".+:\d+\.[\w.-]+", service["image"]), name
        assert "healthcheck" in service or service["restart"] == "no", name
    assert services["worker-gpu"]["profiles"] == ["gpu"]
    base = re.search(r"^FROM (\S+)", (REPOSITORY / "Dockerfile").read_text(), re.MULTILINE)
    assert base
    assert re.fullmatch(r"python:3\.11\.\d+-[\w-]+", base[1])


def test_secrets_come_from_a_file_that_is_not_committed() -> None:
    text = FILE.read_text()
    named = {name for name, _ in VARIABLE.findall(text)}
    example = dict(
        line.split("=", 1)
        for line in (REPOSITORY / ".env.example").read_text().splitlines()
        if line and not line.startswith("#")
    )
    assert named == example.keys()
    assert {name for name in named if name.endswith(("PASSWORD", "KEY"))} == SECRETS
    # Nothing that could stay as it is: each is refused where it is empty, wherever it is used.
    assert all(example[name] == "" for name in SECRETS)
    assert {needed for name, needed in VARIABLE.findall(text) if name in SECRETS} == {":?"}
    for file in (".gitignore", ".dockerignore"):
        assert ".env" in (REPOSITORY / file).read_text().split()


def test_the_image_holds_the_revision_and_none_of_the_default_folders() -> None:
    """Films and homes beside the code would go into the image, to whoever it is given to."""
    left_out = (REPOSITORY / ".dockerignore").read_text().split()
    folders = re.findall(
        r"^TEMPO_\w+_DIR=\./(\S+)$", (REPOSITORY / ".env.example").read_text(), re.MULTILINE
    )
    assert sorted(folders) == ["films", "tempo-home"]
    assert set(folders) <= set(left_out)
    assert ".git" not in left_out  # what `code_version` reads in the image
