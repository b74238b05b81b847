"""Shots of real films with hand-verified cuts, and the scorer that judges them.

Only the short films are decoded here; `benchmarks/shots.py` does the whole folder.
"""

from pathlib import Path

import pytest

from benchmarks.shots import OURS, Report, Score, Truth, detect, pictures, read_manifest, score
from curation.measure.shots.find import ShotConfig
from curation.scan import ScanConfig
from curation.video.film import Film

SHORT = (
    "psd_testvideo.mp4",
    "psd_goldeneye_vfr_drop3.mp4",
    "psd_issue236_anime.mkv",
    "psd_fades_synthetic.mp4",
    "skv_bikes.mp4",
    "cosmos_sintel_30s.mp4",
    "dj_cartoon_video1.mp4",
    "decord_pancake.mkv",
    "tc_nasa_13013.mp4",
    "derived_bikes_vp9.webm",
)


@pytest.fixture(scope="module")
def scores(films_dir: Path) -> dict[str, Score]:
    """Scores by detector, summed over the short films."""
    totals: dict[str, Score] = {}
    for truth in read_manifest(films_dir):
        if truth.file in SHORT:
            frames = pictures(Film(films_dir / truth.file), ScanConfig(), threads=2)
            for name, report in detect(frames, truth.fps, ShotConfig())[0].items():
                totals[name] = totals.get(name, Score()) + score(truth, report)
    return totals


def test_hard_cuts_are_found(scores: dict[str, Score]) -> None:
    assert scores[OURS].cuts == 27
    assert scores[OURS].f1 >= 0.97


def test_gradual_transitions_are_found_one_to_one(scores: dict[str, Score]) -> None:
    assert scores[OURS].gradual == 23
    assert scores[OURS].gradual_found >= 20  # 17 are wanted, 23 were found


def test_hardly_anything_is_reported_that_is_not_there(scores: dict[str, Score]) -> None:
    assert scores[OURS].false_boundaries <= 1  # 3 are allowed on the whole folder


def test_no_frame_of_a_neighbouring_shot_is_in_a_shot(scores: dict[str, Score]) -> None:
    assert scores[OURS].shots > 30
    assert scores[OURS].leaks == 0


def test_the_stock_detectors_do_not_do_better(scores: dict[str, Score]) -> None:
    stock = [result for name, result in scores.items() if name != OURS]
    assert max(result.f1 for result in stock) < scores[OURS].f1
    assert min(result.leaks for result in stock) > scores[OURS].leaks


# -- the scorer ------------------------------------------------------------------------------------

TRUTH = Truth("f", cuts=(10, 50), gradual=((20, 30), (70, 80)), slack=0, verified=True, fps=24.0)


def test_what_is_found_exactly_scores_in_full() -> None:
    perfect = Report(cuts=(10, 50), gradual=((20, 30), (70, 80)), shots=((0, 10), (10, 20)))
    assert score(TRUTH, perfect) == Score(2, 2, 0, 2, 2, 0, 0, 2, 0)


def test_a_cut_may_be_one_frame_off_and_is_found_by_one_report_only() -> None:
    assert score(TRUTH, Report(cuts=(11, 49))).cuts_found == 2
    assert score(TRUTH, Report(cuts=(12,))).false_cuts == 1
    twice = score(TRUTH, Report(cuts=(10, 11)))
    assert (twice.cuts_found, twice.false_cuts, twice.false_boundaries) == (1, 1, 1)


def test_a_transition_needs_half_its_union_and_is_found_once() -> None:
    halves = score(TRUTH, Report(cuts=(), gradual=((20, 25), (25, 30))))
    assert (halves.gradual_found, halves.touching, halves.false_boundaries) == (1, 0, 1)
    small = score(TRUTH, Report(cuts=(), gradual=((20, 24),)))
    assert (small.gradual_found, small.touching, small.false_boundaries) == (0, 1, 0)


def test_a_cut_inside_a_transition_touches_it_once() -> None:
    result = score(TRUTH, Report(cuts=(24, 26)))
    assert (result.touching, result.false_cuts, result.false_boundaries) == (1, 1, 1)
    assert result.precision == 0.0


def test_a_shot_across_a_boundary_or_into_a_transition_leaks() -> None:
    shots = ((0, 10), (0, 11), (12, 20), (12, 21), (29, 40), (30, 40), (15, 60))
    assert score(TRUTH, Report(cuts=(), shots=shots)).leaks == 4


def test_slack_moves_the_ends_of_transitions() -> None:
    entry = {
        "file": "f",
        "cuts": [5, 9],
        "cut_type": ["hard(to black)", "fade_in_start"],
        "gradual": [{"type": "fade_in", "start": 9, "end": 20}],
        "cuts_verified": True,
        "notes": "Hard cuts verified; gradual limits +-3 frames (read off sheets).",
        "fps": 24.0,
    }
    truth = Truth.from_entry(entry)
    assert truth == Truth("f", (5,), ((9, 21),), 3, True, 24.0)
    assert score(truth, Report(cuts=(), gradual=((12, 18),))).gradual_found == 1
    assert score(truth, Report(cuts=(), gradual=((16, 18),))).gradual_found == 0
    assert truth.same_shot(18, 30)
    assert not truth.same_shot(17, 30)
