"""What is different from another version: the policy, the films, and each measurement.

Two numbers tell how far a distribution moved: the population stability index (PSI), which weighs
every part of it, and the Kolmogorov–Smirnov statistic (KS), which has a p-value and so says whether
so few clips can tell at all.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from curation.report.axes import counted, edges_of
from curation.report.document import Change, Drift, Shift
from curation.report.meanings import meaning
from curation.report.tables import VersionTables

_BINS = 10
_CLIPS_PER_BIN = 10

Floats = npt.NDArray[np.float32]


def drift(now: VersionTables, before: VersionTables) -> Drift:
    """Compare the packed clips of two versions."""
    clips_now, clips_before = _packed_ids(now), _packed_ids(before)
    films_now, films_before = set(now.manifest["films"]), set(before.manifest["films"])
    shifts = [
        shift
        for name, column in now.measurements().items()
        if column in before.clips.column_names
        and (shift := _shift(name, column, now, before)) is not None
    ]
    return Drift(
        reference=before.reference,
        settings=_changes(_settings(before), _settings(now)),
        fingerprints=_changes(before.manifest["fingerprints"], now.manifest["fingerprints"]),
        films_added=len(films_now - films_before),
        films_removed=len(films_before - films_now),
        clips_added=len(clips_now - clips_before),
        clips_removed=len(clips_before - clips_now),
        clips_common=len(clips_now & clips_before),
        shifts=tuple(sorted(shifts, key=lambda shift: (-shift.psi, shift.name))),
    )


def psi(before: Floats, now: Floats) -> float:
    """Population stability index: sum of (p - q) ln(p / q) over quantile bins of `before`.

    Ten bins, fewer where the versions are small (ten clips each at least). Half a clip is added to
    each bin, so that an empty one does not make the index infinite.

    Args:
        before: [n] finite values, n > 0.
        now: [m] finite values, m > 0.
    """
    bins = int(np.clip(min(len(before), len(now)) // _CLIPS_PER_BIN, 2, _BINS))
    inner = np.unique(np.quantile(before, np.linspace(0.0, 1.0, bins + 1)[1:-1]))
    p, q = (_proportions(values, inner) for values in (now, before))
    return float(((p - q) * np.log(p / q)).sum())


def _proportions(values: Floats, inner: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    counts = np.bincount(np.searchsorted(inner, values, side="right"), minlength=len(inner) + 1)
    shares: npt.NDArray[np.float64] = (counts + 0.5) / (counts + 0.5).sum()
    return shares


def _shift(name: str, column: str, now: VersionTables, before: VersionTables) -> Shift | None:
    """None when either version measured it on no packed clip."""
    here, there = (
        values[np.isfinite(values)]
        for values in (version.measured(column)[version.packed] for version in (now, before))
    )
    if not here.size or not there.size:
        return None
    from scipy.stats import ks_2samp  # half a second that a first version does not need

    test = ks_2samp(there, here, method="asymp")
    words = meaning(column)
    return Shift(
        name=name,
        label=words.label,
        unit=words.unit,
        psi=psi(there, here),
        ks=float(test.statistic),
        p_value=float(test.pvalue),
        median_before=float(np.median(there)),
        median_now=float(np.median(here)),
        histogram=counted(
            edges_of(np.concatenate([here, there]), bins=24, most=words.most),
            {"before": there, "now": here},
        ),
    )


def _settings(version: VersionTables) -> dict[str, Any]:
    """The configuration without what follows from it."""
    config = version.manifest["config"]
    return {name: value for name, value in config.items() if name != "refinements"}


def _packed_ids(version: VersionTables) -> set[str]:
    return set(version.samples["clip_ids"].combine_chunks().flatten().to_pylist())


def _changes(before: dict[str, Any], now: dict[str, Any]) -> tuple[Change, ...]:
    old, new = flat(before), flat(now)
    names = sorted(old.keys() | new.keys())
    return tuple(
        Change(name, old.get(name), new.get(name))
        for name in names
        if old.get(name) != new.get(name)
    )


def flat(tree: dict[str, Any], path: str = "") -> dict[str, str]:
    """Nested settings as ``select.clarity.min`` -> ``20``, written as `--set` takes them."""
    found: dict[str, str] = {}
    for name, value in tree.items():
        here = f"{path}.{name}" if path else name
        if isinstance(value, dict):
            found |= flat(value, here)
        elif isinstance(value, list | tuple):
            found[here] = ",".join(map(str, value))
        else:
            found[here] = "none" if value is None else str(value)
    return found
