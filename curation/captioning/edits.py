"""Captions that a person edited: how they leave as a table, and how they come back.

A table goes out as CSV, since that is what people edit; it comes back as CSV or JSON lines with
``clip_id``, ``caption`` and optionally ``editor``. A row that cannot be used is listed with its
line, and costs nobody else's. Spreadsheets take a cell that begins with ``=``, ``+``, ``-`` or
``@`` for a formula, and captions are other people's words: such a cell leaves with an apostrophe in
front, which coming back takes off again.
"""

import csv
import dataclasses
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from curation.captioning.tags import one_line
from curation.captioning.words import clean
from curation.components import fingerprint

CAPTIONER = "edited"
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_CLIP_ID = re.compile(r"[0-9a-f]{32}")
_EDITOR_CHARACTERS = 200


@dataclasses.dataclass(frozen=True, slots=True)
class Edit:
    """What a person says of a clip."""

    lines: str
    """Where it stands in the file: ``7``, or ``7-9``."""
    clip_id: str
    caption: str
    editor: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class Refused:
    """A row that cannot be used, and why."""

    lines: str
    why: str


def edited_fingerprint(caption: str, replaces: str | None) -> str:
    """Fingerprint of an edited caption.

    Args:
        caption: its words.
        replaces: fingerprint of the edit before it. With it, a person may come back to words that
            were given up, and that is a new caption.
    """
    return fingerprint("captioner:edited", {"caption": caption, "replaces": replaces})


def read_edits(path: Path) -> tuple[list[Edit], list[Refused]]:
    """Read a file of edited captions.

    Returns:
        The edits in the order of the file, each clip once, and the rows that cannot be used.

    Raises:
        ValueError: the file as a whole cannot be read.
    """
    read = {".csv": _csv_rows, ".jsonl": _json_rows}.get(path.suffix.lower())
    if read is None:
        raise ValueError(f"{path}: give a .csv or .jsonl file")
    edits: dict[str, Edit] = {}
    refused: list[Refused] = []
    try:
        for lines, row in read(path):
            edit = _edit(lines, row) if isinstance(row, dict) else Refused(lines, row)
            if isinstance(edit, Edit) and edit.clip_id in edits:
                first = edits[edit.clip_id].lines
                edit = Refused(lines, f"clip {edit.clip_id} stands on line {first} already")
            if isinstance(edit, Edit):
                edits[edit.clip_id] = edit
            else:
                refused.append(edit)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    return list(edits.values()), refused


def write_table(path: Path, names: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> int:
    """Write rows as CSV in UTF-8; returns how many."""
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        for row in rows:
            writer.writerow([_harmless(row[name]) for name in names])
            count += 1
    return count


def _harmless(value: object) -> str:
    text = "" if value is None else str(value)
    return f"'{text}" if _FORMULA.match(text) else text


def _as_written(text: str) -> str:
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def _edit(lines: str, row: dict[str, Any]) -> Edit | Refused:
    clip_id, caption, editor = (row.get(name) for name in ("clip_id", "caption", "editor"))
    if not isinstance(clip_id, str) or not _CLIP_ID.fullmatch(clip_id):
        return Refused(lines, "clip_id is not one (32 hex digits)")
    if not isinstance(caption, str):
        return Refused(lines, "there is no caption")
    if not isinstance(editor, str | None):
        return Refused(lines, "editor is not a name")
    try:
        f"{caption}{editor}".encode()
    except UnicodeEncodeError:
        return Refused(lines, "it is not UTF-8")
    words, reason = clean(caption)
    if words is None:
        return Refused(lines, f"the caption cannot be used: {reason}")
    return Edit(lines, clip_id, words, one_line(editor or "")[:_EDITOR_CHARACTERS] or None)


def _csv_rows(path: Path) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """Rows with their lines, or what is wrong with them."""
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        # Strict: a quote that is never closed is an error there, and not the end of all rows.
        reader = csv.reader(file, strict=True)
        names = next(reader, [])
        missing = {"clip_id", "caption"}.difference(names)
        if missing:
            raise ValueError(f"{path}: its first line names no column {min(missing)!r}")
        while True:
            first = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield _lines(first, reader.line_num), f"not CSV: {error}"
                continue
            if cells:
                row = dict(zip(names, map(_as_written, cells), strict=False))
                yield _lines(first, reader.line_num), row


def _json_rows(path: Path) -> Iterator[tuple[str, dict[str, Any] | str]]:
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (json.JSONDecodeError, RecursionError) as error:
                yield str(number), f"not JSON: {error}"
                continue
            yield str(number), row if isinstance(row, dict) else "not a JSON object"


def _lines(first: int, last: int) -> str:
    return str(first) if last <= first else f"{first}-{last}"
