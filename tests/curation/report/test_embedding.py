import base64

import numpy as np
import pytest

from benchmarks.report import COMMAND, synthetic_version
from curation.report import collect as collecting
from curation.report.collect import collect
from curation.report.embedding import drawn_rows, packed_bytes, whatif_data


def test_columns_survive_bit_for_bit() -> None:
    values = np.asarray([0.1, np.nan, -0.0, 3.4e38], np.float32)
    decoded = np.frombuffer(base64.b64decode(packed_bytes(values, "f4")), "<f4")
    assert decoded.tobytes() == values.tobytes()


def test_more_clips_than_the_page_holds_are_drawn_at_random(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(collecting, "MAX_EMBEDDED", 400)
    version = synthetic_version(2000)
    report = collect(version, None, {})
    assert (report.whatif.population, report.whatif.embedded) == (2000, 400)
    rows = drawn_rows(version, 400)
    assert len(set(rows.tolist())) == 400
    assert np.array_equal(rows, drawn_rows(version, 400))
    data = whatif_data(version, report, COMMAND)
    seconds = np.frombuffer(base64.b64decode(data["seconds"]), "<f8")
    assert np.array_equal(seconds, version.seconds[rows])
    # A fair draw: its share of kept clips lies within four standard errors of the true one.
    share = version.selection.kept.mean()
    assert abs(version.selection.kept[rows].mean() - share) < 4 * np.sqrt(share * (1 - share) / 400)
