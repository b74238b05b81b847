"""Train and validation: by film, stable, never empty where there are two."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from curation.errors import DatasetError
from curation.splits import SplitConfig, Standing, sides_of_films, split_of_groups

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


@given(st.dictionaries(st.text(min_size=1, max_size=8), st.sampled_from("abcdef"), min_size=2))
def test_films_of_a_group_are_on_its_side(group_of_film: dict[str, str]) -> None:
    config = SplitConfig(0.4 if len(set(group_of_film.values())) > 1 else 0.0)
    sides = sides_of_films(group_of_film, config)
    groups = split_of_groups(set(group_of_film.values()), config)
    assert sides == {film: groups[group] for film, group in group_of_film.items()}


films = st.text("abcdef", min_size=1, max_size=3)
libraries = st.dictionaries(films, films, min_size=2, max_size=30)  # film -> any film of its group


def named_after_lowest(groups: dict[str, str]) -> dict[str, str]:
    return {
        film: min(other for other in groups if groups[other] == name)
        for film, name in groups.items()
    }


@given(libraries, st.dictionaries(films, films, max_size=30), st.floats(0.01, 0.99))
def test_no_film_changes_sides_when_copies_and_films_are_added(
    before: dict[str, str], added: dict[str, str], share: float
) -> None:
    assume(len(set(before.values())) > 1)
    config = SplitConfig(share)
    sides = sides_of_films(named_after_lowest(before), config)
    standing = {film: Standing(1, side) for film, side in sides.items()}
    grown = sides_of_films(named_after_lowest(added | before), config, standing)
    assert {film: grown[film] for film in before} == sides
    assert {*grown.values()} == {"train", "val"}
    for film, name in (added | before).items():
        assert all(grown[film] == grown[o] for o, n in (added | before).items() if n == name)


def test_of_groups_that_become_one_the_side_that_was_published_first_is_kept() -> None:
    standing = {"b": Standing(1, "train"), "c": Standing(2, "val"), "a": Standing(2, "val")}
    groups = {"a": "a", "b": "a", "c": "a", "z": "z"}
    assert sides_of_films(groups, SplitConfig(0.5), standing)["a"] == "train"


def test_a_side_that_nobody_is_on_gets_a_film_that_is_new() -> None:
    standing = {film: Standing(1, "train") for film in "abcdef"}
    groups = {film: film for film in "abcdefn"}
    sides = sides_of_films(groups, SplitConfig(0.1), standing)
    assert [film for film, side in sides.items() if side == "val"] == ["n"]
