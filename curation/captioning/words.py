"""What every captioner shares: what it is asked, what it answers, and what a caption may hold.

A caption from outside that contains a tag of multi-shot samples (`curation.captioning.tags`) would
forge a cut, so it is refused.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from curation.captioning.tags import holds_tag, one_line
from curation.records import ClipRow, VideoRow

MAX_CHARACTERS = 10_000


@dataclasses.dataclass(frozen=True, slots=True)
class CaptionRequest:
    """One clip that wants words."""

    clip: ClipRow
    video: VideoRow
    path: Path
    """The film's file."""
    given: str | None
    """Caption of the whole film from the input manifest."""
    traces: Path
    """The film's traces, where its evidence frames are."""


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What a captioner says of one clip: a caption, or the reason why there is none."""

    clip_id: str
    captioner: str
    fingerprint: str
    caption: str | None
    reason: str | None
    source: str | None
    """Where the words come from: a file's name, a model and its host, 'measurements'."""
    final: bool = True
    """False where another run may well get words (a server that is down): it is not stored."""


class Captioner(Protocol):
    """Turns the clips of a film into words, or says why it cannot."""

    @property
    def name(self) -> str:
        """Name in recipes and rows."""

    @property
    def fingerprint(self) -> str | None:
        """What makes every answer, so that a stored one need not be made again.

        None where an answer also depends on words outside the film: it is asked for anew.
        """

    def caption(self, requests: Sequence[CaptionRequest]) -> list[Answer]:
        """Describe clips of one film: an answer for each, which carries the clip's id."""


def clean(text: str) -> tuple[str | None, str | None]:
    """Bring a caption to one line of printable Unicode.

    Returns:
        The caption and None, or None and the reason for which it cannot be used: ``empty``,
        ``too_long`` or ``reserved_tag``.
    """
    line = one_line(text)
    if not line:
        return None, "empty"
    if len(line) > MAX_CHARACTERS:
        return None, "too_long"
    if holds_tag(line):
        return None, "reserved_tag"
    return line, None
