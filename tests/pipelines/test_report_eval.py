"""What a report compares, only the same prompts by the same metrics; and many that write one."""

import dataclasses
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from evaluation.errors import EvaluationError
from evaluation.metrics.provenance import Provenance
from evaluation.results import Evaluation
from pipelines.report_eval import NUMBERS, changes_against, read_evaluation, write_page
from pipelines.settings import Home
from tests.evaluation.judged import FAST, drawn, evaluation, shown, video

WORDS = {"a": "a river", "b": "a hill", "c": "a street"}
METRICS = ("subject_consistency", "imaging_quality")


def judged(words: dict[str, str], gain: float = 0.0, **judges: Provenance) -> Evaluation:
    """An evaluation of prompts with these words; `gain` is added to every value."""
    prompts = [shown(name, text) for name, text in words.items()]
    videos = [
        video(name, 0, {metric: drawn(at, high=0.6) + gain for metric in METRICS})
        for at, name in enumerate(words)
    ]
    made = evaluation(prompts, videos, [FAST])
    origin = dataclasses.replace(made.origin, metrics=made.origin.metrics | judges)
    return dataclasses.replace(made, origin=origin)


def test_the_same_prompts_and_metrics_are_compared() -> None:
    (found,) = changes_against(judged(WORDS, 0.1), judged(WORDS)).values()
    assert found.keys() == set(METRICS)
    assert all(abs(change.estimate.mean - 10.0) < 1e-9 for change in found.values())
    assert {change.estimate.prompts for change in found.values()} == {3}


def test_another_suite_with_the_same_ids_is_another_suite() -> None:
    other = judged(WORDS | {"b": "a mountain", "c": "a road"})
    (found,) = changes_against(judged(WORDS, 0.1), other).values()
    assert {change.estimate.prompts for change in found.values()} == {1}
    strangers = judged({name: f"not {text}" for name, text in WORDS.items()})
    assert list(changes_against(judged(WORDS), strangers).values()) == [{}]


def test_a_metric_of_another_fingerprint_is_another_metric() -> None:
    """As where one evaluation was of the profile plain and the other of dev."""
    other = judged(WORDS, subject_consistency=Provenance("long range too", 1, {}, {}))
    (found,) = changes_against(judged(WORDS, 0.1), other).values()
    assert found.keys() == {"imaging_quality"}


def stored(home: Home, name: str, finished: str) -> Path:
    made = judged(WORDS)
    origin = dataclasses.replace(made.origin, finished=finished)
    path = home.runs / name / NUMBERS
    path.parent.mkdir(parents=True)
    document = dataclasses.replace(made, id=name, origin=origin).document()
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def test_the_latest_is_the_one_that_was_finished_last(tmp_path: Path) -> None:
    """Whatever the times of the files are, which a copy or a mended page changes."""
    home = Home(tmp_path)
    finished = {"b": "2026-03-02T23:59:59+00:00", "c": "2026-03-03T00:00:01+00:00",
                "a": "2025-12-31T08:00:00+00:00"}  # fmt: skip
    for age, (name, when) in enumerate(finished.items()):
        os.utime(stored(home, name, when), (1e9 + age, 1e9 + age))
    assert read_evaluation(home, "latest").id == "c"


@pytest.mark.parametrize(
    "undated", ["{", "[]", '{"origin": {"finished": null}}', '{"origin": {"finished": "today"}}']
)
def test_beside_one_without_a_date_none_is_the_latest(tmp_path: Path, undated: str) -> None:
    """It may be the one that is meant; the one before it would be reported without a word."""
    home = Home(tmp_path)
    stored(home, "c", "2026-03-03T00:00:01+00:00")
    undated_one = home.runs / "d" / NUMBERS
    undated_one.parent.mkdir()
    undated_one.write_text(undated)
    said = r"runs/d/evaluation\.json does not say .*: name one by its id, or remove that folder"
    with pytest.raises(EvaluationError, match=said):
        read_evaluation(home, "latest")
    # Both remedies.
    assert read_evaluation(home, "c").id == "c"
    shutil.rmtree(undated_one.parent)
    assert read_evaluation(home, "latest").id == "c"


def test_runs_that_end_together_leave_one_whole_page(tmp_path: Path) -> None:
    home, made = Home(tmp_path), judged(WORDS)
    with ThreadPoolExecutor(8) as pool:
        pages = set(pool.map(lambda _: write_page(home, made, None, {}).page, range(24)))
    (page,) = pages
    assert Path(page).read_text(encoding="utf-8").rstrip().endswith("</html>")
    assert not list(Path(page).parent.glob("*.partial"))
