"""A metric's source does not change without somebody deciding whether its numbers do.

When this fails: if the metric's numbers change, raise its version in `evaluation.metrics.versions`
(kept results are then made anew); if the code merely reads better, leave the version. Either way
record the new source: ``python -m tests.evaluation.metrics.test_versions``. How a film is decoded
is not followed here: `curation.components` holds it.
"""

import functools
import json
from pathlib import Path

import grimp
import pytest

from evaluation.metrics.versions import PROXIES, VERSIONS, Version
from evaluation.score import DIMENSIONS
from tests.curation.test_components import source_hash

RECORD = Path(__file__).with_name("versions.json")
NEUTRAL = {"evaluation.errors", "evaluation.metrics.arrays", "evaluation.metrics.metric"}
"""What every metric imports and no number comes from."""


@functools.cache
def imports() -> grimp.ImportGraph:
    return grimp.build_graph("evaluation", exclude_type_checking_imports=True, cache_dir=None)


def modules_of(version: Version) -> list[str]:
    """A metric's entries and all of `evaluation` that they are built on."""
    found = set(version.entries)
    for entry in version.entries:
        found |= imports().find_upstream_modules(entry)
    return sorted(found - NEUTRAL)


def state_of(version: Version) -> dict[str, object]:
    sources = {module: source_hash(module) for module in modules_of(version)}
    return {"version": version.version, "sources": sources}


@pytest.mark.parametrize("name", VERSIONS)
def test_source_is_the_recorded_one(name: str) -> None:
    assert json.loads(RECORD.read_text())[name] == state_of(VERSIONS[name]), (
        f"{name}: its version, or a module that it is built on, changed. Do its numbers change? "
        "Then raise its version in evaluation/metrics/versions.py. Then run: "
        "python -m tests.evaluation.metrics.test_versions"
    )


def test_every_metric_has_a_version_and_no_other_has() -> None:
    assert [*DIMENSIONS, *PROXIES] == list(VERSIONS) == list(json.loads(RECORD.read_text()))


def test_helpers_of_helpers_are_followed() -> None:
    subject = modules_of(VERSIONS["subject_consistency"])
    assert {f"evaluation.metrics.{n}" for n in ("clips", "consistency", "pictures")} < set(subject)
    assert not any("embedders" in module for module in modules_of(VERSIONS[PROXIES[2]]))


def main() -> None:
    record = {name: state_of(version) for name, version in VERSIONS.items()}
    RECORD.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
