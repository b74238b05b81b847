"""Two processes that share a video's tokens predict what one does (Ulysses, over gloo)."""

from pathlib import Path

from tests.ranks import run_ranks


def test_two_processes_are_one(tmp_path: Path) -> None:
    run_ranks("tests.model.process_for_context_parallel", 2, tmp_path / "store", timeout=300)
