"""Kept results: found again, made again where damaged, whole after a kill."""

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from evaluation.metrics.cache import ResultCache
from evaluation.metrics.metric import MetricResult

RESULT = MetricResult(0.25, (0.1, 0.4), (0.0, 2.0), {"clip_to_clip": 1 / 3}, {"c": (1.0, 0.5)})
VIDEO, MADE_BY = "ab" * 32, "f" * 32


def only_file(folder: Path) -> Path:
    (path,) = (path for path in folder.rglob("*") if path.is_file())
    return path


def test_what_is_kept_is_found_by_its_key_alone(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path / "cache")
    assert cache.get(VIDEO, MADE_BY) is None
    cache.put(VIDEO, MADE_BY, RESULT)
    assert cache.get(VIDEO, MADE_BY) == RESULT
    assert cache.get("cd" * 32, MADE_BY) is None
    assert cache.get(VIDEO, "e" * 32) is None
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    kept = only_file(tmp_path / "cache")
    assert kept.stat().st_mode == ordinary.stat().st_mode, "a home may have several users"


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\x00\xff" * 40,
        b"[1, 2]",
        b"null",
        b'{"sha256": "x", "result": {}}',
        "half",
        "edited",
        "nan",
    ],
)
def test_damage_counts_as_absent_and_is_mended(tmp_path: Path, damage: bytes | str) -> None:
    cache = ResultCache(tmp_path)
    cache.put(VIDEO, MADE_BY, RESULT)
    path = only_file(tmp_path)
    text = path.read_text()
    if damage == "half":
        path.write_text(text[: len(text) // 2])
    elif damage == "edited":
        path.write_text(text.replace("0.25", "0.99"))
    elif damage == "nan":
        path.write_text(text.replace("0.25", "NaN"))
    else:
        assert isinstance(damage, bytes)
        path.write_bytes(damage)
    assert cache.get(VIDEO, MADE_BY) is None
    cache.put(VIDEO, MADE_BY, RESULT)
    assert cache.get(VIDEO, MADE_BY) == RESULT


def test_many_writers_of_one_result_leave_one_whole_file(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: cache.put(VIDEO, MADE_BY, RESULT), range(40)))
    assert json.loads(only_file(tmp_path).read_text())
    assert cache.get(VIDEO, MADE_BY) == RESULT


_WRITER = """
import sys
from pathlib import Path
from evaluation.metrics.cache import ResultCache
from tests.evaluation.metrics.test_cache import RESULT
cache = ResultCache(Path(sys.argv[1]))
print("ready", flush=True)
number = 0
while True:
    cache.put(f"{number % 3:064x}", "f" * 32, RESULT)
    number += 1
"""


def test_a_killed_writer_leaves_nothing_half_written(tmp_path: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == "ready\n"
    while len(list(tmp_path.rglob("f*.json"))) < 3:
        pass
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    cache = ResultCache(tmp_path)
    assert [cache.get(f"{number:064x}", "f" * 32) for number in range(3)] == [RESULT] * 3
