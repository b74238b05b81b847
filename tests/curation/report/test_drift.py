import dataclasses
import math

import numpy as np
import pytest

from benchmarks.report import synthetic_version
from curation.report.drift import drift, flat, psi
from curation.report.tables import VersionTables
from curation.selection import Range, SelectionPolicy


@pytest.fixture(scope="module")
def version() -> VersionTables:
    return synthetic_version(600)


def test_a_version_does_not_drift_from_itself(version: VersionTables) -> None:
    found = drift(version, version)
    assert found.clips_common == version.packed.sum()
    assert (found.clips_added, found.clips_removed, found.films_added) == (0, 0, 0)
    assert not found.settings
    assert not found.fingerprints
    assert {shift.psi for shift in found.shifts} == {0.0}
    assert {shift.ks for shift in found.shifts} == {0.0}


def test_a_stricter_policy_shows_in_the_measurement_that_it_cuts(version: VersionTables) -> None:
    stricter = synthetic_version(600, policy=SelectionPolicy(clarity=Range(150, 4000)))
    found = drift(stricter, version)
    assert found.shifts[0].name == "clarity"
    assert found.shifts[0].psi > 0.25
    assert found.clips_added == 0
    assert found.clips_removed == version.packed.sum() - stricter.packed.sum() > 0
    # The largest gap of two empirical distributions, counted point by point.
    before, now = (np.sort(of.measured("clarity_mean")[of.packed]) for of in (version, stricter))
    gaps = [
        abs((before <= point).mean() - (now <= point).mean())
        for point in np.concatenate([before, now])
    ]
    assert found.shifts[0].ks == pytest.approx(max(gaps))


def test_psi_is_its_formula() -> None:
    # Two bins about the median of `before`: 10 and 10 of 20 then, 5 and 15 of 20 now.
    before = np.arange(20, dtype=np.float32)
    now = np.asarray([0.0] * 5 + [15.0] * 15, np.float32)
    old, new = 10.5 / 21, np.asarray([5.5, 15.5]) / 21
    expected = sum((part - old) * math.log(part / old) for part in new)
    assert psi(before, now) == pytest.approx(expected)


def test_changed_settings_are_named_as_set_takes_them(version: VersionTables) -> None:
    config = {"captioners": ["sidecar", "describe"], "pack": {"short_side": 480}}
    other = dataclasses.replace(version, manifest={**version.manifest, "config": config})
    changes = {
        change.what: (change.before, change.now) for change in drift(other, version).settings
    }
    assert changes == {
        "captioners": ("describe", "sidecar,describe"),
        "pack.short_side": ("none", "480"),
    }


def test_settings_are_flattened() -> None:
    tree = {"select": {"clarity": {"min": 20.0, "max": None}}, "seed": 0}
    assert flat(tree) == {"select.clarity.min": "20.0", "select.clarity.max": "none", "seed": "0"}
