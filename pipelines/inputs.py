"""What films a job was given: files, folders, globs, or a manifest with captions and licences.

Listing never opens a film. What cannot be a film (a folder called ``x.mp4``) is listed all the same
when its name says that it wants to be one, so that it is quarantined and counted, not overlooked.
"""

import csv
import dataclasses
import glob
import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import pyarrow as pa
import pyarrow.parquet as pq

from curation.remote import FilmPlace, StoredObject, at_hand, is_stored, listed, stored_address

FILM_SUFFIXES = frozenset(
    {
        ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".m2ts", ".mts", ".ts",
        ".vob", ".wmv", ".asf", ".flv", ".f4v", ".ogv", ".ogg", ".3gp", ".3g2", ".mxf", ".rm",
        ".rmvb", ".dv", ".ivf", ".nut", ".gif",
    }
)  # fmt: skip
MANIFEST_SUFFIXES = frozenset({".csv", ".jsonl", ".parquet"})
_URI_COLUMNS = ("uri", "path", "file", "url")
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


@dataclasses.dataclass(frozen=True, slots=True)
class FilmInput:
    """A file that was offered."""

    path: FilmPlace
    uri: str
    """What rows call it: an absolute path, or an address without credentials and query."""
    caption: str | None = None
    licence: str | None = None


def list_films(arguments: Iterable[str]) -> list[FilmInput]:
    """Every film that the arguments name, each path once, sorted by uri.

    Args:
        arguments: files, folders (searched below, hidden files left out), glob patterns, or
            manifests: CSV, JSONL or Parquet with a column ``uri`` (or ``path``) and optionally
            ``caption`` and ``licence``; relative paths are relative to the manifest. Any of them
            may lie in an object store (``s3://bucket/…``).

    Raises:
        ValueError: an argument names nothing, or a manifest cannot be read.
    """
    found: dict[str, FilmInput] = {}
    for argument in arguments:
        for film in _expand(argument):
            # Of a path that is named twice, the entry that says more is kept.
            known = found.get(film.uri)
            if known is None or (known.caption, known.licence) == (None, None):
                found[film.uri] = film
    return [found[uri] for uri in sorted(found)]


def repeatable(arguments: Iterable[str]) -> tuple[str, ...]:
    """The arguments as they may be recorded and given again: absolute, without secrets."""
    return tuple(_repeatable(argument) for argument in arguments)


def _repeatable(argument: str) -> str:
    if is_stored(argument):  # '?' and '#' are of a pattern or a key there, and begin no query
        return printable(stored_address(argument))
    if _ADDRESS.match(argument):
        return stored_uri(argument)
    return printable(os.path.abspath(argument))  # noqa: PTH100 - a glob is no path


def _expand(argument: str) -> Iterator[FilmInput]:
    if is_stored(argument):
        yield from _expand_stored(stored_address(argument))
        return
    path = Path(argument)
    if os.path.lexists(path):
        yield from _expand_path(path)
        return
    if not glob.has_magic(argument):
        raise ValueError(f"{argument}: no such file or folder")
    matches = sorted(glob.glob(argument, recursive=True))  # noqa: PTH207 - absolute patterns too
    if not matches:
        raise ValueError(f"{argument}: the pattern matches nothing")
    for match in matches:
        yield from _expand_path(Path(match))


def _expand_path(path: Path) -> Iterator[FilmInput]:
    if path.is_dir() and path.suffix.lower() not in FILM_SUFFIXES:
        yield from _walk(path)
    elif path.suffix.lower() in MANIFEST_SUFFIXES:
        yield from _manifest(path, str(path))
    else:
        yield _film(path)


def _expand_stored(address: str) -> Iterator[FilmInput]:
    try:
        found = listed(address)
    except OSError as error:
        raise ValueError(f"{address} cannot be listed: {error}") from error
    if not found:
        raise ValueError(f"{address}: names no object")
    if Path(address).suffix.lower() in MANIFEST_SUFFIXES and [address] == [
        object_.uri for object_ in found
    ]:
        with at_hand(found[0]) as path:
            yield from _manifest(path, address)
        return
    for object_ in found:
        hidden = object_.name.startswith(".")
        named = object_.uri == address
        if named or (not hidden and Path(object_.name).suffix.lower() in FILM_SUFFIXES):
            yield _stored_film(object_)


def _stored_film(
    object_: StoredObject, caption: str | None = None, licence: str | None = None
) -> FilmInput:
    return FilmInput(object_, object_.uri, caption, licence)


def _walk(folder: Path) -> Iterator[FilmInput]:
    for root, folders, files in os.walk(folder):
        here = Path(root)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in [*files, *folders]:
            if not name.startswith(".") and Path(name).suffix.lower() in FILM_SUFFIXES:
                yield _film(here / name)
        folders[:] = [name for name in folders if Path(name).suffix.lower() not in FILM_SUFFIXES]


def _film(path: Path, caption: str | None = None, licence: str | None = None) -> FilmInput:
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 - resolves '..', keeps symlinks
    return FilmInput(absolute, printable(str(absolute)), caption, licence)


def printable(name: str) -> str:
    """A name that any reader can hold: bytes that are not UTF-8 become backslash escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def stored_uri(address: str) -> str:
    """An address without user, password, query and fragment: rows are read by many.

    Raises:
        ValueError: it is no address. The message does not show it, and Python's own, which does, is
            not passed on.
    """
    try:
        parts = urlsplit(address)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        raise ValueError(
            "uri: an address that cannot be read (not shown, it may hold a password); in a user's "
            "name or password write '/' as %2F, '?' as %3F, '#' as %23, '[' as %5B and ']' as %5D"
        ) from None
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"  # IPv6
    return urlunsplit((parts.scheme, host + port, parts.path, "", ""))


def _manifest(path: Path, address: str) -> Iterator[FilmInput]:
    """The films of a manifest that lies at an address, and can be read at a path."""
    try:
        rows = list(_manifest_rows(path))
    except (OSError, ValueError, TypeError, csv.Error, pa.ArrowInvalid) as error:
        raise ValueError(f"manifest {address} cannot be read: {error}") from error
    if not rows:
        raise ValueError(f"manifest {address} lists no films")
    for number, row in enumerate(rows, 1):
        try:
            yield _listed(address, row)
        except ValueError as error:
            raise ValueError(f"manifest {address}, row {number}: {error}") from error


def _listed(manifest: str, row: dict[str, Any]) -> FilmInput:
    """The film that a row names.

    Raises:
        ValueError: the row cannot be used.
    """
    # A file's name need not be UTF-8: in JSON, other bytes of it stand as lone surrogates.
    named = (_text(row, column, "surrogateescape") for column in _URI_COLUMNS)
    address = next((name for name in named if name), None)
    if address is None:
        raise ValueError(f"no uri; it needs one of the columns {', '.join(_URI_COLUMNS)}")
    caption, licence = _text(row, "caption"), _text(row, "licence")
    if address.lower().startswith("file:"):
        return _film(Path(unquote(urlsplit(address).path)), caption, licence)
    if is_stored(address):
        uri = stored_address(printable(address).partition("?")[0])  # a query is not of the name
        return _stored_film(StoredObject(uri), caption, licence)
    if _ADDRESS.match(address):
        # Not a local file: listed under its address, so that it is quarantined and counted.
        uri = printable(stored_uri(address))
        return FilmInput(Path(uri), uri, caption, licence)
    if is_stored(manifest):
        beside = f"{manifest.rpartition('/')[0]}/{printable(address)}"
        return _stored_film(StoredObject(beside), caption, licence)
    return _film(Path(manifest).parent / address, caption, licence)


def _manifest_rows(path: Path) -> Iterator[dict[str, Any]]:
    if path.suffix.lower() == ".parquet":
        yield from pq.read_table(path).to_pylist()
        return
    with path.open(encoding="utf-8-sig", newline="") as file:
        if path.suffix.lower() == ".csv":
            yield from csv.DictReader(file)
            return
        for line in file:
            if line.strip():
                row = json.loads(line)
                yield dict(row)


def _text(row: dict[str, Any], column: str, errors: str = "strict") -> str | None:
    """What a column says, None where it says nothing; `ValueError` for what no table can hold."""
    value = row.get(column)
    if not isinstance(value, str) or not value.strip():
        return None
    try:
        value.encode("utf-8", errors)
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{column} holds half a character, {value[error.start]!a} at position {error.start}; "
            "write the whole character, or none"
        ) from None
    if "\0" in value:
        raise ValueError(f"{column} holds a NUL at position {value.index(chr(0))}; take it out")
    return value
