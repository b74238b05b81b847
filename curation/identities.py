"""Ids and fingerprints: what rows are found by, and what tells whether they are still true.

Ids are hashes of content or of other ids, never of names or times, so that a run that is repeated
finds what it made before.
"""

import dataclasses
import hashlib
import json
from pathlib import Path

ID_HEX_DIGITS = 32  # 128 bits: a collision among 10^12 films has probability 10^-15


def digest(*parts: str) -> str:
    """Hash strings into an id of `ID_HEX_DIGITS` hex digits. No part may contain a NUL."""
    payload = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.sha256(payload).hexdigest()[:ID_HEX_DIGITS]


def video_id_of(path: Path) -> str:
    """Content hash of a film's bytes: a renamed or duplicated file is the same film."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:ID_HEX_DIGITS]


def clip_id_of(video_id: str, stream_index: int, start_frame: int, end_frame: int) -> str:
    """Identity of a clip: the film, its stream and the span."""
    return digest("clip", video_id, str(stream_index), str(start_frame), str(end_frame))


def sample_id_of(clip_ids: list[str], layout: str) -> str:
    """Identity of a training sample: its clips in order, and how they are laid out."""
    return digest("sample", layout, *clip_ids)


def fingerprint_of(component: str, version: int, parameters: object) -> str:
    """Fingerprint of what made a row: component name, its hand-bumped version, its parameters.

    Args:
        component: the name in `curation.components`.
        version: bumped by hand when the component's numbers change.
        parameters: a dataclass, or anything JSON can hold; hashes of weights belong in here.
    """
    return digest("fingerprint", component, str(version), canonical_json(parameters))


def canonical_json(value: object) -> str:
    """JSON with sorted keys and no spaces: equal values give equal bytes."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_plain
    )


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"cannot be written as JSON: {type(value).__name__}")
