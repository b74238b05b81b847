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


_ASKED = ("curation.captioning.asking", "curation.captioning.judging")

COMPONENTS = {
    "scan": Component(
        2,
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
            "curation.video.promised",
            "curation.measure.clarity",
            "curation.measure.exposure",
            "curation.measure.motion",
            "curation.measure.shots.trace",
        ),
    ),
    "derive": Component(
        2,
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
        2,
        (
            "curation.shards.encoding",
            "curation.video.spans",
            "curation.video.conform",
            "curation.video.encode",
            "curation.video.retime",
        ),
    ),
    "scorer:technical": Component(1, ("curation.scoring.frames", "curation.scoring.technical")),
    "scorer:laion": Component(1, ("curation.scoring.frames", "curation.scoring.laion")),
    "refine": Component(
        1,
        (
            "curation.duplicates",
            "curation.balance",
            "curation.neighbours",
            "pipelines.steps.refine",
        ),
    ),
    "captioner:sidecar": Component(1, ("curation.captioning.sidecar",)),
    "captioner:describe": Component(2, ("curation.captioning.describe",)),
    "captioner:endpoint": Component(1, ("curation.captioning.served", *_ASKED)),
    "captioner:local": Component(1, ("curation.captioning.vlm", *_ASKED)),
    "captioner:edited": Component(1, ("curation.captioning.edits",)),
}


def fingerprint(component: str, parameters: object) -> str:
    """Fingerprint of a component with these parameters."""
    return fingerprint_of(component, COMPONENTS[component].version, parameters)
