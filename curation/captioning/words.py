"""What every captioner shares: what it is asked, what it answers, and what a caption may hold.

``<MultiShot>`` and ``<Scene Cut>`` are the marks of multi-shot samples (paper, section 3.3). A
caption from outside that contains one would forge a cut, so it is refused.
"""

import dataclasses
import re
import unicodedata
from pathlib import Path
from typing import Protocol

from curation.records import ClipRow, VideoRow

MULTI_SHOT, SCENE_CUT = "<MultiShot>", "<Scene Cut>"
_RESERVED = re.compile(r"<\s*(multi\s*shot|scene\s*cut)\s*>", re.IGNORECASE)
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
    """Where the words come from: a file's name, a model, 'measurements'."""


class Captioner(Protocol):
    """Turns a clip into words, or says why it cannot."""

    @property
    def name(self) -> str:
        """Name in recipes and rows."""

    @property
    def fingerprint(self) -> str | None:
        """What makes every answer, so that a stored one need not be made again.

        None where an answer also depends on words outside the film: it is asked for anew.
        """

    def caption(self, request: CaptionRequest) -> Answer:
        """Describe one clip. The answer carries the request's clip_id."""


def clean(text: str) -> tuple[str | None, str | None]:
    """Bring a caption to one line of printable Unicode.

    Returns:
        The caption and None, or None and the reason for which it cannot be used: ``empty``,
        ``too_long`` or ``reserved_tag``.
    """
    printable = "".join(
        character if unicodedata.category(character)[0] != "C" else " " for character in text
    )
    line = " ".join(unicodedata.normalize("NFC", printable).split())
    if not line:
        return None, "empty"
    if len(line) > MAX_CHARACTERS:
        return None, "too_long"
    if _RESERVED.search(line):
        return None, "reserved_tag"
    return line, None
