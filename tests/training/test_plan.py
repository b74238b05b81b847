"""The global batch of any step: a function of (seed, step), each visit once an epoch."""

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.plan import BatchConfig, BatchPlan, MicroBatch
from training.windows import Visits, WindowConfig, visits_of

WINDOWS = WindowConfig(
    sizes=((96, 64), (64, 96)), rates=(6, 12, 24), lengths=(9, 17, 33, 61), min_seconds=0
)
SEEDS = st.integers(0, 2**40)
PLANS = {
    "samples": st.integers(1, 40),
    "seed": SEEDS,
    "config": st.builds(
        BatchConfig,
        microbatches=st.sampled_from([1, 2, 4, 6, 12]),
        samples=st.integers(1, 9),
        tokens=st.none() | st.integers(1, 4000),
    ),
}


def visits(samples: int) -> Visits:
    """Samples of many lengths and both shapes."""
    random = np.random.default_rng(samples)
    portrait = random.random(samples) < 0.4
    widths = np.where(portrait, 128, 192)
    return visits_of(random.integers(33, 400, samples), widths, 320 - widths, WINDOWS)


def plan(samples: int, config: BatchConfig, seed: int) -> BatchPlan:
    return BatchPlan(visits(samples), config, WINDOWS.token_side, seed)


def epoch_of(made: BatchPlan, epoch: int) -> list[MicroBatch]:
    """All micro-batches of an epoch, found step by step."""
    each = made.config.microbatches
    first, last = epoch * made.epoch_microbatches, (epoch + 1) * made.epoch_microbatches
    steps = range(first // each, (last - 1) // each + 1)
    found = [batch for step in steps for batch in made.step(step) if batch.epoch == epoch]
    return sorted(found, key=lambda batch: batch.slot)


@settings(max_examples=40, deadline=None)
@given(**PLANS)
def test_an_epoch_shows_each_sample_once_at_each_rate(
    samples: int, config: BatchConfig, seed: int
) -> None:
    made = plan(samples, config, seed)
    for epoch in (0, 1, 5):
        shown = Counter(
            (visit.sample, visit.rate) for batch in epoch_of(made, epoch) for visit in batch.visits
        )
        assert len({sample for sample, _ in shown}) == samples
        assert sum(shown.values()) == 3 * samples == made.epoch_visits
        # 65 frames fill a 17-frame window even at 6 fps; shorter ones repeat a higher rate.
        assert all(count <= 3 for count in shown.values())


@settings(max_examples=40, deadline=None)
@given(**PLANS, step=st.integers(0, 10**9))
def test_a_batch_is_of_one_bucket_and_within_its_budget(
    samples: int, config: BatchConfig, seed: int, step: int
) -> None:
    made = plan(samples, config, seed)
    batches = made.step(step)
    known = visits(samples)
    assert [batch.step for batch in batches] == [step] * config.microbatches
    assert {batch.slot // config.microbatches for batch in batches} == {step}
    assert len({batch.slot for batch in batches}) == config.microbatches
    costs = []
    for batch in batches:
        members = {known.visit(batch.bucket, k) for k in range(len(known.codes[batch.bucket]))}
        assert set(batch.visits) <= members
        assert 1 <= len(batch.visits) <= config.samples
        one = batch.bucket.latents * batch.bucket.width * batch.bucket.height // 16**2
        costs.append(len(batch.visits) * one)
        assert config.tokens is None or costs[-1] <= max(config.tokens, one)
        assert batch.step_samples == sum(len(other.visits) for other in batches)
    assert costs == sorted(costs, reverse=True)


def test_budgets_make_micro_batches_alike() -> None:
    """Full ones are within a factor of two: another sample would not have fitted."""
    config = BatchConfig(microbatches=1, samples=10_000, tokens=2_000)
    made = plan(40, config, 0)
    for bucket, size in made.buckets.items():
        assert 1_000 < size * bucket.tokens(WINDOWS.token_side) <= 2_000


@settings(max_examples=40, deadline=None)
@given(**PLANS, step=st.integers(0, 10**6))
def test_ranks_share_one_global_batch(
    samples: int, config: BatchConfig, seed: int, step: int
) -> None:
    made = plan(samples, config, seed)
    whole = made.step(step)
    for ranks in (n for n in range(1, 13) if config.microbatches % n == 0):
        shares = [made.of_rank(step, rank, ranks) for rank in range(ranks)]
        assert len({len(share) for share in shares}) == 1
        # Side by side in time is side by side in the batch, which is in the order of cost.
        together = itertools.chain.from_iterable(zip(*shares, strict=True))
        assert tuple(together) == whole


@settings(max_examples=40, deadline=None)
@given(**PLANS, step=st.integers(0, 10**12))
def test_a_step_is_the_same_whoever_asks_and_whatever_was_asked_before(
    samples: int, config: BatchConfig, seed: int, step: int
) -> None:
    made = plan(samples, config, seed)
    made.step(0)
    assert made.step(step) == plan(samples, config, seed).step(step)


def test_seeds_and_epochs_make_other_orders() -> None:
    config = BatchConfig(microbatches=4, samples=2)
    runs = [epoch_of(plan(40, config, seed), epoch) for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    for before, after in itertools.combinations(runs, 2):
        # Of micro-batches among each other, and of samples that meet in one.
        assert [batch.bucket for batch in before] != [batch.bucket for batch in after]
        met = [{frozenset(batch.visits) for batch in run} for run in (before, after)]
        assert len(met[0] & met[1]) < len(met[0]) / 2


def test_buckets_are_mixed_over_an_epoch() -> None:
    made = plan(40, BatchConfig(microbatches=1, samples=1), 3)
    order = [batch.bucket for batch in epoch_of(made, 0)]
    changes = sum(a != b for a, b in itertools.pairwise(order))
    shares = [count / len(order) for count in Counter(order).values()]
    expected = 1 - sum(share**2 for share in shares)
    assert changes / len(order) == pytest.approx(expected, abs=0.15)


@settings(max_examples=40, deadline=None)
@given(**PLANS, step=st.integers(0, 1000))
def test_replacements_are_of_the_same_bucket_and_always_the_same(
    samples: int, config: BatchConfig, seed: int, step: int
) -> None:
    made = plan(samples, config, seed)
    batch = made.step(step)[-1]
    known = visits(samples)
    members = {known.visit(batch.bucket, k) for k in range(len(known.codes[batch.bucket]))}
    found = list(itertools.islice(made.replacements(batch, 0), 6))
    assert set(found) <= members
    again = plan(samples, config, seed)
    assert found == list(itertools.islice(again.replacements(again.step(step)[-1], 0), 6))


def test_ranks_that_cannot_share_a_step_are_refused() -> None:
    made = plan(5, BatchConfig(microbatches=6), 0)
    with pytest.raises(ValueError, match=r"4 ranks cannot share batch\.microbatches = 6"):
        made.of_rank(0, 0, 4)
    with pytest.raises(ValueError, match="rank = 3"):
        made.of_rank(0, 3, 3)


@pytest.mark.parametrize("name", ["microbatches", "samples", "tokens"])
def test_counts_are_positive(name: str) -> None:
    with pytest.raises(ValueError, match=rf"batch\.{name} = 0"):
        BatchConfig(**{name: 0})
