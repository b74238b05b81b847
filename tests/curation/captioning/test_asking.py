"""What a model is asked about a clip."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.captioning.asking import SHOT_PROMPT, AskConfig, question, spread
from tests.curation.captioning.clips import film


@given(st.integers(0, 500), st.integers(1, 40))
def test_frames_are_spread_evenly(available: int, wanted: int) -> None:
    places = spread(available, wanted)
    assert len(places) == min(available, wanted)
    assert places == sorted(set(places))
    assert all(0 <= place < available for place in places)
    steps = {after - before for before, after in itertools.pairwise(places)}
    assert len(steps) <= 1 or max(steps) - min(steps) == 1
    if places:  # as far from the one end as from the other
        assert abs(places[0] - (available - 1 - places[-1])) <= 1


def test_question_shows_the_clip_s_own_frames_in_order(tmp_path: Path) -> None:
    requests = film(tmp_path, 3, evidence=8)
    shown = [question(request, AskConfig(frames=8)).pictures for request in requests]
    assert [len(pictures) for pictures in shown] == [8, 8, 8]
    assert len({picture for pictures in shown for picture in pictures}) == 24
    few = question(requests[1], AskConfig(frames=3))
    assert few.pictures == [shown[1][1], shown[1][4], shown[1][6]]
    assert few.clip_id == requests[1].clip.clip_id


def test_prompt_is_filled_in(tmp_path: Path) -> None:
    (request,) = film(tmp_path, 1, evidence=5)
    ask = AskConfig(prompt="$frames of $seconds s for $$5", frames=4)
    assert question(request, ask).text == "4 of 2.5 s for $5"
    for need in ("subject", "action", "scene", "camera", "light"):
        assert need in SHOT_PROMPT


@pytest.mark.parametrize("prompt", ["", " ", "cost: $5", "of $film", "$"])
def test_prompt_that_cannot_be_filled_in_is_refused(prompt: str) -> None:
    with pytest.raises(ValueError, match=r"caption\.ask\.prompt"):
        AskConfig(prompt=prompt)
