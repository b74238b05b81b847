import numpy as np

from benchmarks.report import synthetic_version
from curation.report.gallery import borderline, shown
from curation.selection import Range, SelectionPolicy


def test_no_clip_is_shown_twice_and_the_limit_holds() -> None:
    version = synthetic_version(1500)
    chosen = [clip.index for clip in shown(version, first=[5, 9], limit=100)]
    assert len(chosen) == len(set(chosen)) == 100
    assert {5, 9} <= set(chosen)


def test_a_small_version_is_shown_whole() -> None:
    version = synthetic_version(120)
    assert len(shown(version, [])) == 120


def test_every_reason_and_both_sides_of_every_threshold_are_there() -> None:
    version = synthetic_version(3000)
    chosen = np.asarray([clip.index for clip in shown(version, [])])
    for number, rule in enumerate(version.selection.rules):
        if version.selection.broken_by(number).any():
            assert version.selection.broken_by(number)[chosen].any(), rule
    for end, near in borderline(version).items():
        for side in (True, False):
            on_side = [row for row in near if version.selection.kept[row] == side]
            if on_side:
                closest = min(on_side, key=lambda row: (near[row], row))
                assert closest in chosen, (end, side)
    kept = version.selection.kept[chosen].mean()
    assert 0.25 < kept < 0.75


def test_borderline_clips_lie_close_to_their_threshold() -> None:
    version = synthetic_version(2000, policy=SelectionPolicy(luma=Range(60, 200)))
    near = borderline(version)
    values = version.measured("luma_mean")
    span = values.max() - values.min()
    for end, bound in (("luma.min", 60), ("luma.max", 200)):
        assert near[end]
        assert all(abs(values[row] - bound) <= 0.04 * span for row in near[end])


def test_the_choice_is_always_the_same() -> None:
    assert shown(synthetic_version(900), []) == shown(synthetic_version(900), [])
