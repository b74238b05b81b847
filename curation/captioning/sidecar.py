"""Captions that come with the films: in the input manifest, or in files beside them.

For ``films/beach.mp4`` these are looked for, in this order, and the first that has words wins:

* the caption that the input manifest gives;
* ``beach.txt``: the caption of the whole film;
* ``beach.json``: ``{"caption": "…"}``, or ``{"captions": [{"start": 0.0, "end": 4.2, "caption":
  "…"}, …]}`` with seconds: a clip gets the entry that overlaps it most;
* ``captions.csv`` in the same folder, with columns ``file`` and ``caption``.
"""

import csv
import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from curation.captioning.words import Answer, CaptionRequest, clean
from curation.components import fingerprint

_MAX_BYTES = 4 * 1024 * 1024
_Found = tuple[str | None, str | None, str | None]
"""Caption, reason, source."""


class SidecarCaptioner:
    """Reads captions that somebody wrote."""

    name = "sidecar"
    fingerprint = None

    def caption(self, requests: Sequence[CaptionRequest]) -> list[Answer]:
        """Look clips up; the reason is ``no_sidecar`` where nothing lies beside the film."""
        return [self._found(request) for request in requests]

    def _found(self, request: CaptionRequest) -> Answer:
        worst: str | None = None
        for look in (_given, _text, _json, _csv):
            caption, reason, source = look(request)
            if caption is not None:
                return self._answer(request, caption, None, source)
            worst = worst or reason
        return self._answer(request, None, worst or "no_sidecar", None)

    def _answer(
        self, request: CaptionRequest, caption: str | None, reason: str | None, source: str | None
    ) -> Answer:
        # The words are part of the fingerprint: an edited sidecar is a new caption.
        made_by = fingerprint("captioner:sidecar", {"caption": caption, "reason": reason})
        return Answer(request.clip.clip_id, self.name, made_by, caption, reason, source)


def _given(request: CaptionRequest) -> _Found:
    if request.given is None:
        return None, None, None
    caption, reason = clean(request.given)
    return caption, reason, "manifest"


def _text(request: CaptionRequest) -> _Found:
    path = request.path.with_suffix(".txt")
    text, reason = _read(path)
    if text is None:
        return None, reason, None
    caption, reason = clean(text)
    return caption, reason, path.name


def _json(request: CaptionRequest) -> _Found:
    path = request.path.with_suffix(".json")
    text, reason = _read(path)
    if text is None:
        return None, reason, None
    try:
        document = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        return None, "bad_sidecar", None
    words = _words_of(document, request)
    if words is None:
        return None, "bad_sidecar", None
    caption, reason = clean(words)
    return caption, reason, path.name


def _words_of(document: Any, request: CaptionRequest) -> str | None:  # noqa: ANN401 - any JSON
    if not isinstance(document, dict):
        return None
    if isinstance(document.get("caption"), str):
        return str(document["caption"])
    entries = document.get("captions")
    if not isinstance(entries, list):
        return None
    overlaps = [(_overlap(entry, request), entry) for entry in entries if _is_timed(entry)]
    best = max(overlaps, key=lambda pair: pair[0], default=(0.0, None))
    return str(best[1]["caption"]) if best[1] is not None and best[0] > 0 else None


def _is_timed(entry: object) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("start"), int | float)
        and isinstance(entry.get("end"), int | float)
        and isinstance(entry.get("caption"), str)
    )


def _overlap(entry: dict[str, Any], request: CaptionRequest) -> float:
    start = request.clip.start_seconds
    end = start + request.clip.seconds
    return min(end, float(entry["end"])) - max(start, float(entry["start"]))


def _csv(request: CaptionRequest) -> _Found:
    path = request.path.with_name("captions.csv")
    if not path.is_file():
        return None, None, None
    try:
        words = _captions_of_folder(path, path.stat().st_mtime_ns).get(request.path.name)
    except (OSError, UnicodeDecodeError, csv.Error):
        return None, "bad_sidecar", None
    if words is None:
        return None, None, None
    caption, reason = clean(words)
    return caption, reason, path.name


@functools.lru_cache(maxsize=8)
def _captions_of_folder(path: Path, _modified: int) -> dict[str, str]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        return {
            row["file"]: row["caption"] for row in rows if row.get("file") and row.get("caption")
        }


def _read(path: Path) -> tuple[str | None, str | None]:
    """Text of a sidecar; (None, None) where there is none, (None, reason) where it is unusable."""
    if not path.is_file():
        return None, None
    try:
        if path.stat().st_size > _MAX_BYTES:
            return None, "bad_sidecar"
        return path.read_text(encoding="utf-8-sig"), None
    except (OSError, UnicodeDecodeError):
        return None, "bad_sidecar"
