"""Components and their hand-bumped versions: what fingerprints are made of.

A component is code whose numbers end up in rows. Its version is bumped by hand when those numbers
change, not when the code merely reads better; a test fails when a component's source changed and
nobody said which of the two it was (`tests/curation/test_components.py`).
"""

import dataclasses

from curation.identities import fingerprint_of


@dataclasses.dataclass(frozen=True, slots=True)
class Component:
    """A named piece of code with a version."""

    version: int
    entries: tuple[str, ...]
    """Modules that give the component's numbers. What these import of `curation`, directly or not,
    belongs to it: the test follows the imports."""


COMPONENTS = {
    "scan": Component(2, ("curation.scan",)),
    "derive": Component(2, ("curation.derive",)),
    "pack": Component(2, ("curation.shards.encoding",)),
    "scorer:technical": Component(1, ("curation.scoring.technical",)),
    "scorer:laion": Component(1, ("curation.scoring.laion",)),
    "refine": Component(1, ("curation.duplicates", "curation.balance", "pipelines.steps.refine")),
    "captioner:sidecar": Component(1, ("curation.captioning.sidecar",)),
    "captioner:describe": Component(2, ("curation.captioning.describe",)),
    "captioner:endpoint": Component(1, ("curation.captioning.served",)),
    "captioner:local": Component(1, ("curation.captioning.vlm",)),
    "captioner:edited": Component(1, ("curation.captioning.edits",)),
}


def fingerprint(component: str, parameters: object) -> str:
    """Fingerprint of a component with these parameters."""
    return fingerprint_of(component, COMPONENTS[component].version, parameters)
