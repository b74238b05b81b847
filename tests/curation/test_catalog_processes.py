"""The catalog under several real processes at once, on SQLite."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from curation.catalog.connection import CatalogSettings
from curation.catalog.datasets import datasets
from curation.catalog.store import Catalog
from tests.curation import process_for_catalog

REPOSITORY = Path(__file__).resolve().parents[2]


def at_once(what: str, home: Path, count: int) -> list[Any]:
    """What each of `count` processes says that it did, all started at the same moment."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", process_for_catalog.__name__, what, str(home), f"p{number}"],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(count)
    ]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * count
    return [json.loads(answer) for answer in answers]


def stored_clip_ids(home: Path) -> list[str]:
    """What a reader sees that knows nothing of our rules."""
    with Catalog.open(CatalogSettings(home)) as catalog:
        ids: list[str] = catalog.table("clips").scan().to_arrow()["clip_id"].to_pylist()
    return ids


def test_concurrent_appends_lose_nothing_and_store_nothing_twice(tmp_path: Path) -> None:
    """They also make the catalog at once, which none of them finds."""
    added = at_once("append", tmp_path, 2)
    own = {f"p{who}-{turn}-{index}" for who in range(2) for turn in range(4) for index in range(2)}
    shared = {f"all-{index}" for index in range(25)}
    assert sorted(stored_clip_ids(tmp_path)) == sorted(own | shared)
    assert sum(sum(counts) for counts in added) == len(own | shared)


def test_concurrent_publishers_get_different_numbers(tmp_path: Path) -> None:
    numbers = at_once("publish", tmp_path, 2)
    assert sorted(number for each in numbers for number in each) == [1, 2, 3, 4, 5, 6]
    assert all(each == sorted(each) for each in numbers)
    with Catalog.open(CatalogSettings(tmp_path)) as catalog:
        published = datasets(catalog)
        assert [row.version for row in published] == [1, 2, 3, 4, 5, 6]
        assert {row.publish_id for row in published} == {
            f"p{who}-{turn}" for who in range(2) for turn in range(3)
        }
        assert catalog.read("samples").num_rows == 12
