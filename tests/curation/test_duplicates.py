"""Near-duplicates: who holds whom, which films are one, and who stays."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.duplicates import (
    COMMON,
    DuplicateConfig,
    FrameHashes,
    Similar,
    Standing,
    film_groups,
    representatives,
    similar_by_embedding,
    similar_by_hashes,
)

I64 = npt.NDArray[np.int64]
HASHES = DuplicateConfig(look="hashes")
EMBEDDING = DuplicateConfig(look="embedding")
RANDOM = np.random.default_rng(1)
PICTURES = RANDOM.integers(0, 256, (200, 18), dtype=np.uint8)
"""Hashes of pictures that have nothing in common: about half of their bits differ."""


def transcoded(picture: int, bits: int = 5) -> npt.NDArray[np.uint8]:
    """The hash of a picture with some bits turned."""
    flat = np.unpackbits(PICTURES[picture])
    turned = np.random.default_rng(picture).choice(flat.size, bits, replace=False)
    flat[turned] ^= 1
    return np.packbits(flat)


def hashes_of(clips: list[list[npt.NDArray[np.uint8] | None]]) -> FrameHashes:
    """Clips as lists of their frames' hashes; None is a flat frame."""
    telling = [(at, bits) for at, clip in enumerate(clips) for bits in clip if bits is not None]
    return FrameHashes(
        clip=np.array([at for at, _ in telling], np.int64),
        bits=np.array([bits for _, bits in telling], np.uint8).reshape(len(telling), 18),
        frames=np.array([len(clip) for clip in clips]),
    )


def pairs(similar: Similar) -> set[tuple[int, int]]:
    return set(zip(similar.held.tolist(), similar.by.tolist(), strict=True))


def seen(*pictures: int) -> list[npt.NDArray[np.uint8] | None]:
    return [PICTURES[picture] for picture in pictures]


def test_a_transcode_holds_and_is_held() -> None:
    original = seen(0, 1, 2, 3)
    copy = [transcoded(picture) for picture in range(4)]
    similar = similar_by_hashes(hashes_of([original, copy, seen(5, 6, 7)]), np.arange(3), HASHES)
    assert pairs(similar) == {(0, 1), (1, 0)}


def test_a_piece_is_held_by_the_whole_and_does_not_hold_it() -> None:
    similar = similar_by_hashes(
        hashes_of([seen(*range(10)), seen(2, 3, 4)]), np.array([0, 1]), HASHES
    )
    assert pairs(similar) == {(1, 0)}


@pytest.mark.parametrize(("shared", "held"), [(5, False), (6, True)])
def test_six_frames_of_ten_make_it_the_same(shared: int, held: bool) -> None:
    one, other = seen(*range(10)), seen(*range(shared), *range(20, 30 - shared))
    similar = similar_by_hashes(hashes_of([one, other]), np.array([0, 1]), HASHES)
    assert ((0, 1) in pairs(similar)) is held


def test_a_still_picture_votes_with_each_of_its_frames_once() -> None:
    still, mixed = seen(*[0] * 10), seen(0, 0, *range(1, 9))
    similar = similar_by_hashes(hashes_of([still, mixed]), np.array([0, 1]), HASHES)
    assert pairs(similar) == {(0, 1)}  # all of the still one is in the other, a fifth of it back


def test_flat_frames_make_nothing_the_same() -> None:
    dark: list[npt.NDArray[np.uint8] | None] = [None] * 6
    similar = similar_by_hashes(
        hashes_of([dark, list(dark), [*dark, PICTURES[0]], [*dark, PICTURES[0]]]),
        np.arange(4),
        HASHES,
    )
    assert pairs(similar) == set()


def test_a_test_card_in_many_films_makes_nothing_the_same() -> None:
    """Two films that are the same stay so; the card that a thousand begin with costs nothing."""
    films = COMMON + 1
    clips = [seen(0, 0, 0) for _ in range(films)] + [seen(0, 1, 2, 3), seen(0, 1, 2, 3)]
    similar = similar_by_hashes(hashes_of(clips), np.arange(films + 2), HASHES)
    assert pairs(similar) == {(films, films + 1), (films + 1, films)}
    few = similar_by_hashes(hashes_of(clips[2:]), np.arange(films), HASHES)
    assert (0, 1) not in pairs(few)  # still one more than COMMON show it
    fewer = similar_by_hashes(hashes_of(clips[3:]), np.arange(films - 1), HASHES)
    assert (0, 1) in pairs(fewer)


def test_clips_of_one_film_are_compared_only_when_asked() -> None:
    clips = hashes_of([seen(0, 1), seen(0, 1)])
    same_film = np.zeros(2, np.int64)
    assert pairs(similar_by_hashes(clips, same_film, HASHES)) == set()
    asked = DuplicateConfig(look="hashes", within_films=True)
    assert pairs(similar_by_hashes(clips, same_film, asked)) == {(0, 1), (1, 0)}


def test_embeddings_that_point_the_same_way_and_those_that_are_not_there() -> None:
    angles = np.array([0.0, 0.1, 1.0, 1.05])
    embeddings = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    embeddings = np.vstack([embeddings, np.zeros((2, 2))]).astype(np.float32)
    similar = similar_by_embedding(embeddings, np.arange(6), EMBEDDING)
    assert pairs(similar) == {(0, 1), (1, 0), (2, 3), (3, 2)}
    films = np.array([0, 0, 1, 2, 3, 4])
    assert pairs(similar_by_embedding(embeddings, films, EMBEDDING)) == {(2, 3), (3, 2)}


def test_no_clips_at_all() -> None:
    none = np.empty(0, np.int64)
    similar = similar_by_hashes(hashes_of([]), none, HASHES)
    assert pairs(similar) == set()
    assert film_groups(similar, none, np.empty(0, bool), HASHES).tolist() == []


def similar_of(*held: tuple[int, int]) -> Similar:
    found = np.array(sorted(held), np.int64).reshape(-1, 2)
    return Similar(found[:, 0], found[:, 1])


def both_ways(*held: tuple[int, int]) -> Similar:
    return similar_of(*held, *((b, a) for a, b in held))


def test_films_are_one_group_when_enough_of_one_is_in_the_other() -> None:
    # Film 0 has clips 0-3, film 1 has 4 and 5, film 2 has 6-9, film 3 has 10.
    films = np.array([0, 0, 0, 0, 1, 1, 2, 2, 2, 2, 3])
    all_ = np.ones(11, bool)
    # Half of film 1 is in film 0; a quarter of film 2 is in film 1.
    similar = similar_of((4, 0), (6, 5))
    assert film_groups(similar, films, all_, HASHES).tolist() == [0, 0, 2, 3]
    # Films of films: 3 is all in 2, half of 2 in 1.
    similar = similar_of((6, 4), (7, 5), (10, 9))
    assert film_groups(similar, films, all_, HASHES).tolist() == [0, 1, 1, 1]


def test_clips_that_cannot_be_compared_do_not_count_against_a_group() -> None:
    films = np.array([0, 1, 1, 1, 1])
    similar = similar_of((1, 0))
    comparable = np.array([True, True, True, False, False])
    assert film_groups(similar, films, np.ones(5, bool), HASHES).tolist() == [0, 1]
    assert film_groups(similar, films, comparable, HASHES).tolist() == [0, 0]


def standing(films: list[int], **fields: list[float]) -> Standing:
    count = len(films)
    plain = {"short_side": [480.0] * count, "score": [5.0] * count, "seconds": [4.0] * count}
    columns = plain | fields
    return Standing(
        films=np.array(films),
        short_side=np.array(columns["short_side"], np.int64),
        score=np.array(columns["score"], np.float32),
        seconds=np.array(columns["seconds"], np.float64),
    )


def stays(similar: Similar, of: Standing, kept: list[bool] | None = None) -> list[int]:
    mask = np.array(kept if kept is not None else [True] * len(of.films))
    return representatives(similar, mask, of, HASHES).tolist()  # type: ignore[no-any-return] - numpy says Any


def test_the_larger_picture_stays_then_the_longer_film_then_the_better_score() -> None:
    pair = both_ways((0, 1))
    assert stays(pair, standing([0, 1], short_side=[360, 720], score=[9, 1])) == [1, -1]
    assert stays(pair, standing([0, 1], seconds=[4.0, 9.0], score=[9, 1])) == [1, -1]
    assert stays(pair, standing([0, 1], seconds=[4.01, 4.04], score=[9, 1])) == [-1, 0]
    assert stays(pair, standing([0, 1], score=[float("nan"), 1])) == [1, -1]
    assert stays(pair, standing([0, 1])) == [-1, 0]


def test_only_what_holds_each_other_is_dropped() -> None:
    assert stays(similar_of((0, 1)), standing([0, 1])) == [-1, -1]


def test_what_the_policy_drops_neither_stays_nor_drops() -> None:
    chain = both_ways((0, 1), (1, 2))
    assert stays(chain, standing([0, 1, 2])) == [-1, 0, 0]
    assert stays(chain, standing([0, 1, 2]), kept=[False, True, True]) == [-1, -1, 1]
    assert stays(chain, standing([0, 1, 2]), kept=[True, False, True]) == [-1, -1, -1]


def test_the_clips_of_one_film_stay_together() -> None:
    # Both clips of film 0 look like clip 2 of film 1; clip 1 is the better one.
    similar = both_ways((0, 2), (1, 2))
    assert stays(similar, standing([0, 0, 1], score=[3, 8, 5])) == [-1, -1, 1]


@given(st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=30), st.data())
def test_every_set_keeps_one_and_every_dropped_clip_has_one_that_stays(
    links: list[tuple[int, int]], data: st.DataObject
) -> None:
    films = data.draw(st.lists(st.integers(0, 5), min_size=12, max_size=12))
    apart = {(a, b) for a, b in links if films[a] != films[b]}
    kept = data.draw(st.lists(st.booleans(), min_size=12, max_size=12))
    scores = data.draw(st.lists(st.floats(0, 10, width=32), min_size=12, max_size=12))
    chosen = stays(both_ways(*(apart | {(b, a) for a, b in apart})), standing(films, score=scores),
                   kept)  # fmt: skip
    for clip, representative in enumerate(chosen):
        if representative >= 0:
            assert kept[clip]
            assert kept[representative]
            assert chosen[representative] == -1
            assert films[representative] != films[clip]
    # Two kept clips that hold each other do not both stay, unless their set's film has both.
    for a, b in apart:
        if kept[a] and kept[b]:
            assert chosen[a] >= 0 or chosen[b] >= 0


@pytest.mark.parametrize(
    ("field", "value"),
    [("hash_distance", 0.5), ("frame_share", 0.0), ("cosine", 1.1), ("film_share", -1.0)],
)
def test_impossible_settings_are_named(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"duplicates\.{field}"):
        DuplicateConfig(**{field: value})  # type: ignore[arg-type] - fields by name
