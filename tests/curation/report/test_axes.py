import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.report.axes import counted, edges_of, places, whole_edges

values = st.lists(
    st.floats(0, 2**20, width=32, allow_subnormal=False)
    | st.floats(-50, 50, width=32, allow_subnormal=False),
    min_size=1,
    max_size=60,
).map(lambda drawn: np.asarray(drawn, np.float32))
bounds = st.lists(st.floats(2**-10, 2**19, width=32), max_size=2, unique=True).map(tuple)


@given(values, bounds)
def test_every_value_is_counted_once_and_every_bound_lies_inside(
    drawn: np.ndarray, inside: tuple[float, ...]
) -> None:
    axis = edges_of(drawn, inside)
    histogram = counted(axis, {"all": drawn})
    assert sum(histogram.series["all"]) == len(drawn)
    assert np.all(np.diff(axis.edges) > 0)
    assert all(axis.edges[0] <= bound <= axis.edges[-1] for bound in inside)


@given(values)
def test_a_linear_histogram_is_numpys(drawn: np.ndarray) -> None:
    axis = edges_of(drawn)
    if axis.scale == "linear":
        edges = np.asarray(axis.edges, np.float32)
        # The outer bins take what rounding of the outermost edges would leave outside.
        expected, _ = np.histogram(np.clip(drawn, edges[0], edges[-1]), edges)
        assert counted(axis, {"all": drawn}).series["all"] == tuple(expected)


@given(values, bounds)
def test_places_follow_the_values(drawn: np.ndarray, inside: tuple[float, ...]) -> None:
    placed = places(edges_of(drawn, inside), np.sort(drawn))
    assert np.all(np.diff(placed) >= 0)
    assert placed.min() >= 0
    assert placed.max() <= 1


def test_heavy_tails_get_a_log_axis_that_shows_the_low_end() -> None:
    heavy = np.random.default_rng(0).lognormal(3, 2, 5000).astype(np.float32)
    axis = edges_of(heavy, (5.0,))
    assert axis.scale == "log"
    # On a linear axis of this range the bound would lie in the first bin.
    assert 0.1 < places(axis, np.asarray([5.0], np.float32))[0] < 0.9


def test_missing_values_are_not_counted() -> None:
    some = np.asarray([1.0, np.nan, 2.0], np.float32)
    axis = edges_of(some[np.isfinite(some)])
    assert sum(counted(axis, {"all": some}).series["all"]) == 2


@pytest.mark.parametrize("drawn", [[7.0], [3.0, 3.0], [1.0, 200.0], []])
def test_counts_of_things_have_whole_edges(drawn: list[float]) -> None:
    axis = whole_edges(np.asarray(drawn, np.float32))
    assert all(edge == int(edge) for edge in axis.edges)
    assert len(axis.edges) <= 26
    assert sum(counted(axis, {"all": np.asarray(drawn, np.float32)}).series["all"]) == len(drawn)


def test_the_axis_of_what_cannot_be_negative_does_not_go_below_zero() -> None:
    shares = np.linspace(0.2, 0.9, 50).astype(np.float32)
    assert edges_of(shares, (0.01,)).edges[0] >= 0.0


@pytest.mark.parametrize("shares", [[0.2, 1.0], [1.0, 1.0], [0.0, 0.001, 1.0] * 40])
@pytest.mark.parametrize("bounds", [(), (0.98,), (0.01, 1.0)])
def test_the_axis_of_a_share_ends_at_the_whole(
    shares: list[float], bounds: tuple[float, ...]
) -> None:
    values = np.asarray(shares, np.float32)
    axis = edges_of(values, bounds, most=1.0)
    assert axis.edges[-1] == pytest.approx(1.0)
    assert all(before < after for before, after in itertools.pairwise(axis.edges))
    assert sum(counted(axis, {"all": values}).series["all"]) == len(values)
