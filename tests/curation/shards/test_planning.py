"""Which sample stands in which shard: a function of the samples alone."""

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.identities import clip_id_of, digest, sample_id_of
from curation.multishot import MultiShotConfig, assemble
from curation.shards.planning import PackConfig, estimated_bytes, plan_shards


def clips(count: int, seed: int = 0) -> pa.Table:
    random = np.random.default_rng(seed)
    films = [digest("film", str(k % 7)) for k in range(count)]
    return pa.table(
        {
            "clip_id": [clip_id_of(film, 0, k, k + 1) for k, film in enumerate(films)],
            "video_id": films,
            "shot_index": np.arange(count),
            "start_frame": np.arange(count),
            "end_frame": np.arange(count) + 1,
            "start_seconds": np.arange(count) / 24,
            "seconds": np.full(count, 1 / 24),
            "frame_count": random.integers(20, 1440, count),
            "width": random.choice([640, 1280, 1920], count),
            "height": random.choice([360, 720, 1080], count),
        }
    )


def samples(table: pa.Table) -> pa.Table:
    films = sorted(set(table["video_id"].to_pylist()))
    sides = {film: "val" if k == 0 else "train" for k, film in enumerate(films)}
    return assemble(table, sides, MultiShotConfig(share=0.0))


@given(st.integers(1, 200), st.integers(0, 3), st.integers(1_000_000, 50_000_000))
def test_plan_does_not_depend_on_the_order_of_the_clips(count: int, seed: int, size: int) -> None:
    table = clips(count, seed)
    shuffled = table.take(np.random.default_rng(seed + 1).permutation(count))
    config = PackConfig(shard_bytes=size)
    plans = [plan_shards(samples(given_), config) for given_ in (table, shuffled)]
    assert plans[0].equals(plans[1])


@given(st.integers(1, 200), st.integers(1_000_000, 500_000_000))
def test_every_sample_is_in_one_shard_of_its_side_and_no_shard_is_too_large(
    count: int, size: int
) -> None:
    table = clips(count)
    plan = plan_shards(samples(table), PackConfig(shard_bytes=size))
    assert sorted(plan["sample_id"].to_pylist()) == sorted(
        sample_id_of([clip], "single") for clip in table["clip_id"].to_pylist()
    )
    estimates = estimated_bytes(plan)
    sizes: dict[str, list[int]] = {}
    for shard, split, estimate in zip(
        plan["shard"].to_pylist(), plan["split"].to_pylist(), estimates.tolist(), strict=True
    ):
        assert shard.startswith(f"{split}-")
        sizes.setdefault(shard, []).append(estimate)
    for of_shard in sizes.values():
        # A shard is closed by the sample that fills it, so it exceeds its size by less than one.
        assert sum(of_shard[:-1]) <= size + max(estimates)
    names = sorted(name for name in sizes if name.startswith("train-"))
    assert names == [f"train-{k:06d}" for k in range(len(names))]


def test_neighbours_in_a_shard_are_of_different_films_more_often_than_not() -> None:
    table = clips(700)
    plan = plan_shards(samples(table), PackConfig())
    films = plan.filter(pa.compute.equal(plan["split"], "train"))["video_id"].to_pylist()
    same = sum(a == b for a, b in itertools.pairwise(films))
    assert same < 0.3 * len(films)


@pytest.mark.parametrize("fields", [{"shard_bytes": 10}, {"short_side": 2}])
def test_sizes_that_cannot_be_meant_are_refused(fields: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(fields))):
        PackConfig(**fields)
