"""Orders of the study: balanced as Williams designs are, and the same for ever."""

import collections
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.study.design import Kind, schedule, williams
from evaluation.study.document import Mode
from tests.evaluation.study.small import main_tasks, one_gold, one_training, study_of


@given(st.integers(1, 12))
def test_williams_designs_balance_position_and_carry_over(treatments: int) -> None:
    rows = williams(treatments)
    everything = set(range(treatments))
    assert all(set(row) == everything and len(row) == treatments for row in rows)
    for column in zip(*rows, strict=True):
        counts = collections.Counter(column)
        assert set(counts) == everything
        assert len(set(counts.values())) == 1
    follows = collections.Counter(pair for row in rows for pair in itertools.pairwise(row))
    if treatments > 1:
        assert set(follows) == set(itertools.permutations(everything, 2))
        assert len(set(follows.values())) == 1


@given(
    systems=st.integers(2, 5),
    items=st.integers(1, 6),
    seed=st.integers(0, 2**32),
    first=st.integers(0, 40),
)
@settings(max_examples=25, deadline=None)
def test_a_whole_square_of_raters_is_balanced(
    systems: int, items: int, seed: int, first: int
) -> None:
    """Each video stands equally often in each block; each rater sees each video once."""
    study = study_of(systems, items, seed=seed)
    rows = len(williams(systems))
    stands: collections.Counter[tuple[str, int]] = collections.Counter()
    for place in range(first, first + rows):
        tasks = main_tasks(study, place)
        assert len({task.clips for task in tasks}) == len(tasks) == systems * items
        for at, task in enumerate(tasks):
            stands[task.clips[0], at // items] += 1
        for block in range(systems):
            part = tasks[block * items : (block + 1) * items]
            assert len({task.subject for task in part}) == items
    assert set(stands.values()) == {rows // systems}
    assert len(stands) == systems * items * systems


@given(per_rater=st.integers(1, 6), showings=st.integers(1, 3), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_shares_of_the_items_are_balanced_over_laps(
    per_rater: int, showings: int, seed: int
) -> None:
    """6 items, 3 systems: after 6 laps every video was shown equally often."""
    study = study_of(3, 6, seed=seed, items_per_rater=per_rater, showings_per_item=showings)
    raters = 6 * 6 // per_rater if 36 % per_rater == 0 else 36
    counts = collections.Counter(
        task.clips[0] for place in range(raters) for task in main_tasks(study, place)
    )
    assert len(counts) == 18
    assert len(set(counts.values())) == 1


def test_sides_change_and_are_balanced() -> None:
    study = study_of(3, 4, mode=Mode.PAIRWISE)
    laps = 2 * len(williams(3))
    left = collections.Counter(
        (task.subject, task.systems) for place in range(laps) for task in main_tasks(study, place)
    )
    assert len(left) == 4 * 6
    assert set(left.values()) == {laps // 2}
    tasks = main_tasks(study, 0)
    assert {task.swapped for task in tasks} == {True, False}
    for task in tasks:
        item = next(item for item in study.items if item.id == task.subject)
        assert task.clips == tuple(item.videos[system] for system in task.systems)
        assert (task.systems[::-1] if task.swapped else task.systems) in study.pairs


def test_a_reference_is_compared_with_each_other() -> None:
    study = study_of(4, 2, mode=Mode.PAIRWISE, reference="system 2")
    seen = {frozenset(task.systems) for task in main_tasks(study, 0)}
    assert seen == {frozenset({"system 2", f"system {k}"}) for k in (0, 1, 3)}


@pytest.mark.parametrize("mode", list(Mode))
def test_repeats_come_late_and_look_alike(mode: Mode) -> None:
    study = study_of(3, 4, mode=mode, repeats=3)
    for place in range(8):
        tasks = schedule(study, place)
        again = [at for at, task in enumerate(tasks) if task.kind is Kind.REPEAT]
        assert len(again) == 3
        for at in again:
            task = tasks[at]
            shown = [
                k for k, other in enumerate(tasks)
                if other.kind is Kind.MAIN and set(other.clips) == set(task.clips)
            ]  # fmt: skip
            assert len(shown) == 1
            assert at - shown[0] >= 4
            original = tasks[shown[0]]
            assert task.subject == original.subject
            if mode is Mode.PAIRWISE:
                assert task.clips == original.clips[::-1]
                assert task.swapped is not original.swapped


def test_training_first_and_gold_anywhere() -> None:
    study = study_of(training=one_training(), gold=one_gold(motion_quality=(1, 2)))
    places = set()
    for place in range(30):
        tasks = schedule(study, place)
        assert [task.kind for task in tasks].count(Kind.TRAINING) == 1
        assert tasks[0].kind is Kind.TRAINING
        gold = [at for at, task in enumerate(tasks) if task.kind is Kind.GOLD]
        assert len(gold) == 1
        places.add(gold[0])
    assert len(places) > 5


def test_a_list_is_the_same_for_ever() -> None:
    """A rater comes back after the server was updated: the numbers of the tasks must hold."""
    tasks = schedule(study_of(repeats=2), 5)
    assert tasks == schedule(study_of(repeats=2), 5)
    assert [f"{task.subject[-1]}{task.systems[0][-1]}" for task in tasks] == (
        ["22", "00", "31", "11", "01", "20", "12", "30", "21", "32", "20", "10", "02", "00"]
    )
    assert schedule(study_of(seed=8), 5) != schedule(study_of(seed=7), 5)
