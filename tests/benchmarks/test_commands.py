"""Each benchmark's command line can be read; what they measure is in `docs/benchmarks.md`."""

import runpy
import sys

import pytest

from tests.conftest import REPOSITORY

COMMANDS = sorted(
    path.stem
    for path in (REPOSITORY / "benchmarks").glob("*.py")
    if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
)


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize("name", COMMANDS)
def test_it_says_what_it_takes(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In this process, since a fresh one would import torch and diffusers for each."""
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(f"benchmarks.{name}", run_name="__main__", alter_sys=True)
    assert not ended.value.code
    assert "usage:" in capsys.readouterr().out


def test_all_are_in_the_documentation() -> None:
    said = (REPOSITORY / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert [
        name
        for name in COMMANDS
        if f"benchmarks.{name}`" not in said and f"benchmarks.{name} " not in said
    ] == []
