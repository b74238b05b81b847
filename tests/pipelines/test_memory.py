import sys

import numpy as np
import pytest

from pipelines.memory import PeakMemory

SIZE = 200_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux starts its count anew")
def test_a_peak_is_seen_after_it_is_over_and_forgotten_by_the_next() -> None:
    first = PeakMemory("cpu")
    np.ones(SIZE, np.uint8)  # let go at once
    peak = first.bytes()
    assert peak is not None
    second = PeakMemory("cpu")
    after = second.bytes()
    assert after is not None
    assert peak - after > SIZE // 2
