"""Suites: what a checkpoint is asked to show, as explicit manifests of prompts and pictures.

A suite is a file that can be read, diffed and passed on: JSON lines or CSV, a row for each prompt.
It comes from strangers, so everything about it is checked before the first video is made, down to
decoding every picture; that costs some seconds and saves finding out after a night of GPUs.
"""

import csv
import dataclasses
import hashlib
import io
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from curation.identities import canonical_json
from curation.unfinished import replacing

COLUMNS = ("id", "prompt", "image", "licence", "dimensions")
_NEEDED = ("id", "prompt", "licence")
_SUFFIXES = (".jsonl", ".csv")
_MAX_BYTES = 64_000_000
_MAX_PROMPTS = 100_000
_MAX_WORDS = 5_000
_MAX_IMAGE_BYTES = 200_000_000
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_FORMATS = ("JPEG", "PNG", "WEBP")


@dataclasses.dataclass(frozen=True, slots=True)
class Prompt:
    """What one video is to show.

    Attributes:
        id: stands in file names and tables; letters, digits, dots, dashes and underscores.
        text: the prompt.
        image: picture of the first frame; None: from words alone.
        image_sha256: of the picture's file; empty without one.
        licence: of the picture and the words.
        dimensions: metrics that count this prompt (VBench averages each dimension over its own
            prompts); empty: all do.
    """

    id: str
    text: str
    image: Path | None
    image_sha256: str
    licence: str
    dimensions: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Suite:
    """A checked suite.

    Attributes:
        name: of the file.
        prompts: in its order.
    """

    name: str
    prompts: tuple[Prompt, ...]

    @property
    def sha256(self) -> str:
        """Of all that decides videos and means; where pictures lie does not."""
        rows = [[p.id, p.text, p.image_sha256, p.licence, list(p.dimensions)] for p in self.prompts]
        return hashlib.sha256(canonical_json(rows).encode()).hexdigest()


def read_suite(path: Path) -> Suite:
    """Read and check a manifest, ``.jsonl`` or ``.csv``.

    A row has `id`, `prompt` and `licence`, and may have `image` (a path, relative to the manifest)
    and `dimensions` (a list; in CSV separated by semicolons).

    Raises:
        ValueError: naming file, row and field.
    """
    if path.suffix not in _SUFFIXES:
        raise ValueError(f"suite {path}: write it as {' or '.join(_SUFFIXES)}")
    try:
        if not path.is_file():
            raise ValueError(f"suite {path}: there is no such file")
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError(f"suite {path}: larger than {_MAX_BYTES // 1_000_000} MB; split it")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"suite {path} cannot be read: {error}") from error
    rows = _json_rows(path, text) if path.suffix == ".jsonl" else _csv_rows(path, text)
    prompts: dict[str, Prompt] = {}
    for number, row in rows:
        where = f"suite {path}, row {number}"
        prompt = _prompt(row, path.parent, where)
        if prompt.id in prompts:
            raise ValueError(f"{where}: the id {prompt.id!r} stands there twice; make it another")
        prompts[prompt.id] = prompt
        if len(prompts) > _MAX_PROMPTS:
            raise ValueError(f"{where}: more than {_MAX_PROMPTS} prompts; split the suite")
    if not prompts:
        raise ValueError(f"suite {path} has no prompt; a row needs {', '.join(_NEEDED)}")
    return Suite(path.stem, tuple(prompts.values()))


def write_suite(path: Path, prompts: Iterable[Prompt]) -> None:
    """Write a manifest as JSON lines; pictures below its folder are named relatively."""
    lines = []
    for prompt in prompts:
        row: dict[str, Any] = {"id": prompt.id, "prompt": prompt.text, "licence": prompt.licence}
        if prompt.image is not None:
            inside = prompt.image.is_relative_to(path.parent)
            row["image"] = str(prompt.image.relative_to(path.parent) if inside else prompt.image)
        if prompt.dimensions:
            row["dimensions"] = list(prompt.dimensions)
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        partial.write_text("".join(lines), encoding="utf-8")


def checked_picture(path: Path, where: str) -> str:
    """Decode a picture to its end, and hash its file.

    Returns:
        The file's sha256.

    Raises:
        ValueError: there is no such file, or it is no JPEG, PNG or WebP that can be read.
    """
    try:
        if not path.is_file():
            raise ValueError(f"{where}: there is no picture {path}")
        if path.stat().st_size > _MAX_IMAGE_BYTES:
            raise ValueError(f"{where}: picture {path} is larger than 200 MB")
        with Image.open(path, formats=_FORMATS) as picture:
            picture.load()
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{where}: picture {path} cannot be read: {error}") from error


def _json_rows(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=_once_each)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"suite {path}, row {number}: not JSON: {error}") from error
        if not isinstance(row, dict):
            raise ValueError(  # noqa: TRY004 - a mistake in a file, like the others here
                f"suite {path}, row {number}: write an object with {', '.join(_NEEDED)}"
            )
        yield number, row


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"a key stands there twice among {', '.join(name for name, _ in pairs)}")
    return found


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text), strict=True, restkey="")
    try:
        for number, row in enumerate(reader, 2):
            if "" in row:
                raise ValueError(f"suite {path}, row {number}: more cells than headings; quote it")
            filled = {name: value for name, value in row.items() if value}
            if "dimensions" in filled:
                filled["dimensions"] = [part.strip() for part in filled["dimensions"].split(";")]
            yield number, filled
    except csv.Error as error:
        raise ValueError(f"suite {path}, row {reader.line_num}: not CSV: {error}") from error


def _prompt(row: dict[str, Any], folder: Path, where: str) -> Prompt:
    unknown = [name for name in row if name not in COLUMNS]
    missing = [name for name in _NEEDED if not row.get(name)]
    if unknown or missing:
        wrong = [f"missing {name}" for name in missing] + [f"unknown {n!r}" for n in unknown]
        raise ValueError(f"{where}: {', '.join(wrong)}; the fields are {', '.join(COLUMNS)}")
    name = _text(row, "id", where)
    if _ID.fullmatch(name) is None:
        raise ValueError(
            f"{where}: id={name!r}: up to 100 letters, digits, dots, dashes and underscores, the "
            "first a letter or digit"
        )
    image = folder / _text(row, "image", where) if row.get("image") else None
    return Prompt(
        id=name,
        text=_text(row, "prompt", where),
        image=image,
        image_sha256=checked_picture(image, where) if image else "",
        licence=_text(row, "licence", where),
        dimensions=_dimensions(row.get("dimensions"), where),
    )


def _text(row: dict[str, Any], field: str, where: str) -> str:
    value = row[field]
    if not isinstance(value, str) or not value.strip() or len(value) > _MAX_WORDS:
        raise ValueError(f"{where}: {field} must be text of 1 to {_MAX_WORDS} characters")
    # Control characters, lone surrogates and the like: no file name, and no word of a prompt.
    if any(unicodedata.category(c) in {"Cc", "Cs", "Cn"} and c not in "\n\t" for c in value):
        raise ValueError(f"{where}: {field}={value!r} holds characters that are not text")
    return value


def _dimensions(value: object, where: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(d, str) and d.strip() for d in value):
        raise ValueError(f"{where}: dimensions={value!r}: write a list of names of metrics")
    return tuple(value)
