"""What FLOPs promise on several ranks: chains that were worked out by hand."""

import functools

import pytest

from benchmarks.tree import longest_chain
from model import flops, presets
from model.schedule import Schedule
from model.tree import Node, Plan, plan_tree
from model.tree_cost import plan_cost
from model.work import Execution, batches

LATENTS, STEPS = 31, (5, 3, 2)


@pytest.fixture(scope="module")
def seven() -> Plan:
    """Seven windows of equal length: one, two and four of them, of 5, 3 and 2 steps."""
    return plan_tree(Schedule.parse("f(6,12,24)m(1,2,4)", steps=STEPS), 481)


def formed(plan: Plan, ranks: int, batch: int | None) -> list[tuple[Node, ...]]:
    return batches(plan, Execution(batch=batch), 4, presets.tiny(), ranks, itemsize=4)


@pytest.mark.parametrize(
    ("ranks", "batch", "steps_in_a_row"),
    [
        (1, 1, 5 + 2 * 3 + 4 * 2),
        (2, 1, 5 + 3 + 2 * 2),
        (3, 1, 5 + 3 + 2 * 2),  # three leaves, and then one while two ranks wait
        (4, 1, 5 + 3 + 2),
        (8, 1, 5 + 3 + 2),  # no more than four windows are ever ready
        (2, 2, 5 + 2 * 3 + 2 * 2),  # the second level is one batch, the third two
        (2, 3, 5 + 2 * 3 + 3 * 2),  # three leaves on one rank, one on the other
        (2, None, 5 + 3 + 2 * 2),
    ],
)
def test_a_round_lasts_as_long_as_its_largest_batch(
    seven: Plan, ranks: int, batch: int | None, steps_in_a_row: int
) -> None:
    chain = longest_chain(formed(seven, ranks, batch), ranks, lambda latents: 100 * latents)
    assert chain == steps_in_a_row * 100 * LATENTS


def test_one_window_gains_nothing_from_ranks() -> None:
    plan = plan_tree(Schedule.parse("f(24)m(1)", steps=(2,)), 481, window_cap=1 << 30)
    chains = {
        n: longest_chain(formed(plan, n, None), n, lambda latents: latents) for n in (1, 2, 8)
    }
    assert set(chains.values()) == {2 * 121}


@pytest.mark.parametrize("batch", [1, 2, None])
def test_one_rank_does_all_that_the_plan_costs(seven: Plan, batch: int | None) -> None:
    network = presets.tiny()
    window = functools.partial(flops.exact, network, height=64, width=96, text_length=16)
    cost = plan_cost(seven, network, 64, 96, 16)
    assert longest_chain(formed(seven, 1, batch), 1, window) == cost.operations
    assert longest_chain(formed(seven, 4, None), 4, window) == cost.critical
