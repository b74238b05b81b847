"""The two tags of multi-shot captions, and what keeps captions from forging them.

A multi-shot sample is captioned ``<MultiShot> first <Scene Cut> second <Scene Cut> third`` (paper,
section 3.3). The tags are plain text to a text encoder, so a caption that holds one by itself would
claim a cut that is not there: `join` takes captions without tags only, and `split` gives them back.
The trade-off: anything that a reader could take for a tag, in any case and spacing, is reserved.
"""

import re
import unicodedata
from collections.abc import Sequence

MULTI_SHOT, SCENE_CUT = "<MultiShot>", "<Scene Cut>"
_RESERVED = re.compile(r"<\s*(multi\s*shot|scene\s*cut)\s*>", re.IGNORECASE)


def one_line(text: str) -> str:
    """Text as one line of printable Unicode (NFC); control and format characters become spaces."""
    printable = "".join(
        character if unicodedata.category(character)[0] != "C" else " " for character in text
    )
    return " ".join(unicodedata.normalize("NFC", printable).split())


def holds_tag(caption: str) -> bool:
    """True when a caption contains something that reads as one of the tags."""
    return _RESERVED.search(caption) is not None


def clean(caption: str) -> str:
    """A caption that `join` takes, unless nothing is left of it.

    One line of printable Unicode; tags in it lose their angle brackets: ``<Scene Cut>`` becomes
    ``(Scene Cut)``. Cleaning twice is cleaning once.
    """
    return _RESERVED.sub(r"(\1)", one_line(caption))


def _is_clean(caption: str) -> bool:
    return bool(caption) and clean(caption) == caption


def join(captions: Sequence[str]) -> str:
    """The caption of a sample whose shots have these captions, in order.

    One caption stays what it is; several get the tags.

    Raises:
        ValueError: there is none, or one is empty, not clean, or holds a tag.
    """
    if not captions:
        raise ValueError("captions: none was given; a sample has one for each of its shots")
    for number, caption in enumerate(captions):
        if not _is_clean(caption):
            raise ValueError(f"captions[{number}] = {caption[:80]!r}: give one clean line of words")
    if len(captions) == 1:
        return captions[0]
    return f"{MULTI_SHOT} " + f" {SCENE_CUT} ".join(captions)


def split(text: str) -> list[str]:
    """The captions that `join` made a sample's caption of.

    Raises:
        ValueError: `join` cannot have made it.
    """
    body = text.removeprefix(f"{MULTI_SHOT} ")
    tagged = body != text
    captions = body.split(f" {SCENE_CUT} ") if tagged else [text]
    if tagged != (len(captions) > 1) or not all(map(_is_clean, captions)):
        raise ValueError(f"{text[:80]!r}: its tags are not those of a multi-shot caption")
    return captions
