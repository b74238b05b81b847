"""Train and validation: by film, stable, never empty where there are two."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.errors import DatasetError
from curation.splits import SplitConfig, split_of_groups

groups = st.sets(st.text(min_size=1, max_size=8), min_size=2, max_size=60)


@given(groups, st.floats(0.01, 0.99), st.integers(0, 5))
def test_both_sides_get_a_group(films: set[str], share: float, seed: int) -> None:
    sides = split_of_groups(films, SplitConfig(share, seed))
    assert sides.keys() == films
    assert set(sides.values()) == {"train", "val"}


def test_share_is_met_on_average() -> None:
    films = {f"film {k}" for k in range(5000)}
    sides = split_of_groups(films, SplitConfig(0.1))
    assert 0.08 < list(sides.values()).count("val") / 5000 < 0.12


def test_groups_keep_their_side_when_the_library_grows() -> None:
    few = {f"film {k}" for k in range(200)}
    many = few | {f"more {k}" for k in range(200)}
    before, after = (split_of_groups(films, SplitConfig(0.2)) for films in (few, many))
    assert all(before[film] == after[film] for film in few)


def test_one_group_cannot_be_split_unless_nothing_is_held_out() -> None:
    with pytest.raises(DatasetError, match=r"--set split\.val_share=0"):
        split_of_groups({"only"}, SplitConfig(0.1))
    assert split_of_groups({"only"}, SplitConfig(0.0)) == {"only": "train"}
