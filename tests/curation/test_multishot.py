"""Which clips meet in a sequence: rules checked clip by clip, on films drawn by Hypothesis."""

import dataclasses
import itertools
from collections import Counter
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.identities import clip_id_of, digest, sample_id_of
from curation.multishot import MultiShotConfig, assemble

FPS = 25
Clip = dict[str, Any]


def film(name: str, pieces: list[tuple[int, int, bool]], wide: tuple[int, ...] = ()) -> list[Clip]:
    """Clips of a film, in order.

    Args:
        name: of the film.
        pieces: (gap to the clip before, length, of a new shot), in frames of 25 fps.
        wide: positions of clips of another size.
    """
    clips: list[Clip] = []
    frame, shot = 0, 0
    for position, (gap, length, new_shot) in enumerate(pieces):
        frame, shot = frame + gap, shot + new_shot
        clips.append(
            {
                "clip_id": clip_id_of(digest(name), 0, frame, frame + length),
                "video_id": digest(name),
                "shot_index": shot,
                "start_frame": frame,
                "end_frame": frame + length,
                "start_seconds": frame / FPS,
                "seconds": length / FPS,
                "frame_count": -(-length * 24 // FPS),
                "width": 640 if position in wide else 480,
                "height": 270,
            }
        )
        frame += length
    return clips


def assembled(clips: list[Clip], **fields: Any) -> list[dict[str, Any]]:
    films = sorted({clip["video_id"] for clip in clips})
    sides = {video: "val" if k % 3 == 1 else "train" for k, video in enumerate(films)}
    table = pa.Table.from_pylist(clips)
    config = MultiShotConfig(**{"share": 1.0, **fields})
    samples: list[dict[str, Any]] = assemble(table, sides, config).to_pylist()
    for sample in samples:
        assert sample["split"] == sides[sample["video_id"]]
    return samples


def sequences(clips: list[Clip], **fields: Any) -> list[list[Clip]]:
    """The clips of each multi-shot sample."""
    by_id = {clip["clip_id"]: clip for clip in clips}
    return [
        [by_id[clip] for clip in sample["clip_ids"]]
        for sample in assembled(clips, **fields)
        if sample["kind"] == "multi"
    ]


pieces = st.tuples(st.sampled_from([0, 0, 3, 60, 400]), st.integers(50, 500), st.booleans())
libraries = st.lists(
    st.tuples(st.lists(pieces, min_size=1, max_size=25), st.sets(st.integers(0, 24), max_size=3)),
    min_size=1,
    max_size=4,
).map(
    lambda films: [
        clip
        for number, (parts, wide) in enumerate(films)
        for clip in film(f"film {number}", parts, tuple(wide))
    ]
)


@st.composite
def policies(draw: st.DrawFn) -> MultiShotConfig:
    fewest = draw(st.integers(2, 4))
    shortest = draw(st.floats(1.0, 20.0))
    return MultiShotConfig(
        share=draw(st.floats(0.0, 1.0)),
        min_shots=fewest,
        max_shots=fewest + draw(st.integers(0, 5)),
        min_seconds=shortest,
        max_seconds=shortest + draw(st.floats(0.0, 60.0)),
        max_gap_seconds=draw(st.sampled_from([0.0, 1.0, 5.0, 100.0])),
        max_uses=draw(st.integers(1, 3)),
        stand_alone=draw(st.booleans()),
        seed=draw(st.integers(0, 3)),
    )


@given(libraries, policies())
def test_every_sequence_keeps_every_rule(clips: list[Clip], policy: MultiShotConfig) -> None:
    made = assembled(clips, **dataclasses.asdict(policy))
    by_id = {clip["clip_id"]: clip for clip in clips}
    uses: Counter[str] = Counter()
    for sample in made:
        of_sample = [by_id[clip] for clip in sample["clip_ids"]]
        assert sample["sample_id"] == sample_id_of(sample["clip_ids"], sample["kind"])
        assert sample["frame_count"] == sum(clip["frame_count"] for clip in of_sample)
        for column in ("video_id", "width", "height"):
            assert {clip[column] for clip in of_sample} == {sample[column]}
        if sample["kind"] == "single":
            assert len(of_sample) == 1
            continue
        uses.update(sample["clip_ids"])
        assert policy.min_shots <= len(of_sample) <= policy.max_shots
        assert policy.min_seconds <= sample["frame_count"] / 24 <= policy.max_seconds
        for before, after in itertools.pairwise(of_sample):
            assert before["shot_index"] != after["shot_index"]
            gap = (after["start_frame"] - before["end_frame"]) / FPS
            assert 0 <= gap <= policy.max_gap_seconds
            between = [
                clip
                for clip in clips
                if clip["video_id"] == before["video_id"]
                and before["end_frame"] <= clip["start_frame"] < after["start_frame"]
            ]
            assert not between, "a kept clip was skipped"
    assert max(uses.values(), default=0) <= policy.max_uses
    assert len({sample["sample_id"] for sample in made}) == len(made)


@given(libraries, policies())
def test_share_and_standing_alone(clips: list[Clip], policy: MultiShotConfig) -> None:
    made = assembled(clips, **dataclasses.asdict(policy))
    all_of_them = assembled(clips, **dataclasses.asdict(policy) | {"share": 1.0})
    for side in ("train", "val"):
        kinds = Counter(sample["kind"] for sample in made if sample["split"] == side)
        assert kinds["multi"] <= policy.share * kinds.total() + 1e-6
        possible = Counter(sample["kind"] for sample in all_of_them if sample["split"] == side)
        if policy.stand_alone and kinds["multi"] < possible["multi"]:
            # One more would have been too many.
            assert kinds["multi"] + 1 > policy.share * (kinds.total() + 1) - 1e-6
    alone = {clip for sample in made if sample["kind"] == "single" for clip in sample["clip_ids"]}
    used = {clip for sample in made if sample["kind"] == "multi" for clip in sample["clip_ids"]}
    every = {clip["clip_id"] for clip in clips}
    assert alone == (every if policy.stand_alone else every - used)


@given(libraries, policies(), st.randoms())
def test_the_order_of_the_rows_does_not_matter(
    clips: list[Clip], policy: MultiShotConfig, random: Any
) -> None:
    fields = dataclasses.asdict(policy)
    shuffled = random.sample(clips, len(clips))
    assert sorted(assembled(clips, **fields), key=repr) == sorted(
        assembled(shuffled, **fields), key=repr
    )


def scene(name: str = "scene", shots: int = 60) -> list[Clip]:
    """Shots of 3 seconds, cut to cut."""
    return film(name, [(0, 75, True)] * shots)


def test_a_new_film_leaves_the_sequences_of_the_others() -> None:
    before = {tuple(c["clip_id"] for c in made) for made in sequences(scene("b"))}
    after = {
        tuple(c["clip_id"] for c in made)
        for made in sequences([*scene("a"), *scene("b"), *scene("c")])
        if made[0]["video_id"] == digest("b")
    }
    assert before == after


def test_every_allowed_length_is_drawn_and_seeds_differ() -> None:
    lengths = Counter(len(made) for made in sequences(scene(shots=2000)))
    assert set(lengths) == set(range(2, 9))
    assert max(lengths.values()) < 2 * min(lengths.values())
    assert sequences(scene(), seed=1) != sequences(scene(), seed=2)
    assert sequences(scene(), seed=1) == sequences(scene(), seed=1)


def test_pieces_of_one_shot_never_meet() -> None:
    long_shot = film("long", [(0, 1000, True), (0, 1000, False), (0, 1000, False)])
    assert sequences(long_shot, max_seconds=600) == []
    followed = film("followed", [(0, 1000, True), (0, 1000, False), (0, 100, True)])
    (made,) = sequences(followed, max_seconds=600)
    assert [clip["start_frame"] for clip in made] == [1000, 2000]


def test_gap_is_film_that_is_missing() -> None:
    gapped = film("gap", [(0, 100, True), (125, 100, True)])  # 5 seconds apart
    assert len(sequences(gapped, max_gap_seconds=5.0)) == 1
    assert sequences(gapped, max_gap_seconds=4.99) == []


def test_a_sequence_is_long_enough_for_stage_two() -> None:
    assert sequences(film("short", [(0, 60, True), (0, 60, True)])) == []  # 4.8 s
    (made,) = sequences(film("enough", [(0, 60, True), (0, 65, True)]))  # 5 s
    assert len(made) == 2
    assert sequences(film("too long", [(0, 800, True), (0, 800, True)])) == []  # 64 s


def test_clips_of_two_sizes_do_not_meet() -> None:
    made = sequences(film("sizes", [(0, 75, True)] * 4, wide=(2, 3)), max_shots=2)
    assert [[clip["width"] for clip in clips] for clips in made] == [[480, 480], [640, 640]]


def test_clips_of_two_films_do_not_meet() -> None:
    one, other = sorted(("one", "other"), key=digest)
    # Side by side in the sorted table, and as if the second film went on where the first ends.
    clips = film(one, [(0, 100, True)]) + film(other, [(0, 100, True), (0, 100, True)])[1:]
    assert sequences(clips) == []


def test_clips_that_do_not_stand_alone_make_single_shots_fewer() -> None:
    pairs = {"min_shots": 2, "max_shots": 2, "stand_alone": False}
    kinds = Counter(sample["kind"] for sample in assembled(scene(), share=0.5, **pairs))
    assert kinds == {"multi": 20, "single": 60 - 2 * 20}


def test_more_uses_give_more_sequences() -> None:
    once, thrice = sequences(scene()), sequences(scene(), max_uses=3)
    assert len(thrice) > 1.5 * len(once)


def test_share_of_the_paper_over_a_library() -> None:
    clips = [clip for k in range(30) for clip in scene(f"film {k}")]
    kinds = Counter((sample["split"], sample["kind"]) for sample in assembled(clips, share=0.1))
    assert {kind for _, kind in kinds} == {"single", "multi"}
    for side in ("train", "val"):
        assert kinds[side, "multi"] == kinds[side, "single"] // 9


@pytest.mark.parametrize(
    "fields",
    [
        {"share": 1.5},
        {"share": float("nan")},
        {"min_shots": 1},
        {"max_shots": 1},
        {"min_seconds": 0.0},
        {"max_seconds": 4.0},
        {"max_seconds": float("inf")},
        {"max_gap_seconds": -1.0},
        {"max_gap_seconds": float("nan")},
        {"max_uses": 0},
    ],
)
def test_policies_that_cannot_be_meant_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"multishot\." + next(iter(fields)) + "|max_seconds"):
        MultiShotConfig(**fields)  # type: ignore[arg-type]  # a table of single wrong fields
