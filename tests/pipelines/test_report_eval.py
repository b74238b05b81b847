"""What a report compares, only the same prompts by the same metrics; and many that write one."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from evaluation.metrics.provenance import Provenance
from evaluation.results import Evaluation
from pipelines.report_eval import changes_against, write_page
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


def test_runs_that_end_together_leave_one_whole_page(tmp_path: Path) -> None:
    home, made = Home(tmp_path), judged(WORDS)
    with ThreadPoolExecutor(8) as pool:
        pages = set(pool.map(lambda _: write_page(home, made, None, {}).page, range(24)))
    (page,) = pages
    assert Path(page).read_text(encoding="utf-8").rstrip().endswith("</html>")
    assert not list(Path(page).parent.glob("*.partial"))
