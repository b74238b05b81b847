"""Components and their hand-bumped versions: what fingerprints are made of.

A component is code whose numbers end up in rows. Its version is bumped by hand when those numbers
change, not when the code merely reads better; a test fails when a component's source changed and
nobody said which of the two it was (`tests/curation/test_components.py`).
"""

import dataclasses

from curation.records import fingerprint_of


@dataclasses.dataclass(frozen=True, slots=True)
class Component:
    """A named piece of code with a version."""

    version: int
    modules: tuple[str, ...]
    """Modules whose source decides the component's numbers."""


COMPONENTS = {
    "scan": Component(
        1,
        (
            "curation.scan",
            "curation.pictures",
            "curation.traces",
            "curation.video.film",
            "curation.video.decode",
            "curation.video.colour",
            "curation.video.deinterlace",
            "curation.video.geometry",
            "curation.video.orientation",
            "curation.video.planar",
            "curation.measure.clarity",
            "curation.measure.exposure",
            "curation.measure.motion",
            "curation.measure.shots.trace",
        ),
    ),
    "derive": Component(
        1,
        (
            "curation.derive",
            "curation.clips",
            "curation.measure.shots.find",
            "curation.measure.shots.cuts",
            "curation.measure.shots.gradual",
            "curation.measure.shots.seeds",
            "curation.measure.shots.similarity",
            "curation.video.retime",
            "curation.video.geometry",
        ),
    ),
    "pack": Component(
        1,
        (
            "curation.shards.encoding",
            "curation.video.spans",
            "curation.video.conform",
            "curation.video.encode",
            "curation.video.retime",
        ),
    ),
    "captioner:sidecar": Component(1, ("curation.captioning.sidecar",)),
    "captioner:describe": Component(1, ("curation.captioning.describe",)),
}


def fingerprint(component: str, parameters: object) -> str:
    """Fingerprint of a component with these parameters."""
    return fingerprint_of(component, COMPONENTS[component].version, parameters)
