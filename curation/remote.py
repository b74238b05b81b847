"""Films and datasets in an object store (``s3://bucket/key``), brought to where code can read them.

A decoder wants a file that it can enter anywhere, many times over. So an object is fetched whole
into a folder of this machine before it is opened, and stays there until others need the room: the
trade-off is a download of each film on each node, where reading by ranges would bind every seek of
a decoder to the network. Credentials come from the environment, as every S3 program finds them, and
are never in an address.
"""

import contextlib
import dataclasses
import fcntl
import functools
import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import urlsplit

from fsspec.utils import glob_translate
from pyarrow import fs

from curation.errors import FilmError

SCHEME = "s3://"
_GLOB = re.compile(r"[*?\[]")
_BLOCK = 8 << 20
_ENDPOINTS = ("S3_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
_REGION = "us-east-1"
"""What stores that have no regions want to hear."""
_CACHE_BYTES = 50_000_000_000


@dataclasses.dataclass(frozen=True, slots=True)
class StoredObject:
    """An object, and its state where a listing has told it."""

    uri: str
    size: int | None = None
    mtime_ns: int | None = None

    @property
    def name(self) -> str:
        """The last part of its key."""
        return self.uri.rpartition("/")[2]

    def state(self) -> tuple[int, int]:
        """Bytes, and time of its last change in nanoseconds; asks the store if need be.

        Raises:
            OSError: it is not there, or not to be read.
        """
        if self.size is None or self.mtime_ns is None:
            return current_state(self.uri)
        return self.size, self.mtime_ns


FilmPlace = Path | StoredObject
"""Where a film lies."""


def is_stored(address: str) -> bool:
    """Whether an address is of an object store that can be read here."""
    return address[: len(SCHEME)].lower() == SCHEME


def stored_address(address: str) -> str:
    """An address in its one form.

    Raises:
        ValueError: it holds credentials (it is not shown then), or does not name one bucket.
    """
    bucket, _, key = address[len(SCHEME) :].partition("/")
    if "@" in bucket:
        raise ValueError(
            "s3 address: it holds a user or a password (not shown); give them as AWS_ACCESS_KEY_ID "
            "and AWS_SECRET_ACCESS_KEY"
        )
    if not bucket:
        raise ValueError(f"{address}: names no bucket; write s3://bucket/key")
    if _GLOB.search(bucket):
        raise ValueError(
            f"{address}: a pattern may stand in the key, and the bucket is named in full; write "
            "s3://bucket/pattern, once for each bucket"
        )
    return f"{SCHEME}{bucket}/{key}"


def place_of(uri: str) -> FilmPlace:
    """The place that a row's uri names."""
    return StoredObject(uri) if is_stored(uri) else Path(uri)


def file_system() -> fs.S3FileSystem:
    """The object store at ``$S3_ENDPOINT`` or ``$AWS_ENDPOINT_URL``, else AWS.

    Raises:
        ValueError: the endpoint is not an address.
    """
    return _file_system(_given(_ENDPOINTS), _given(_REGIONS))


def iceberg_properties() -> dict[str, str]:
    """What PyIceberg must be told of the store; no credentials, which it finds as we do.

    Raises:
        ValueError: the endpoint is not an address.
    """
    endpoint, region = _given(_ENDPOINTS), _given(_REGIONS)
    if endpoint:
        _host(endpoint)
        return {"s3.endpoint": endpoint, "s3.region": region or _REGION}
    return {"s3.region": region} if region else {}


def _given(names: tuple[str, ...]) -> str:
    return next((os.environ[name] for name in names if os.environ.get(name)), "")


@functools.cache
def _file_system(endpoint: str, region: str) -> fs.S3FileSystem:
    # Opened when there is something to write: small objects then go in one request, not in three.
    options: dict[str, Any] = {
        "retry_strategy": fs.AwsStandardS3RetryStrategy(max_attempts=6),
        "allow_delayed_open": True,
    }
    if not endpoint:
        return fs.S3FileSystem(region=region or None, **options)
    scheme, host = _host(endpoint)
    return fs.S3FileSystem(
        endpoint_override=host, scheme=scheme, region=region or _REGION, **options
    )


def _host(endpoint: str) -> tuple[str, str]:
    """Scheme and host of an endpoint that is not AWS, and what such stores need of the client."""
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.netloc or "@" in parts.netloc:
        raise ValueError("S3_ENDPOINT: write http://host:port or https://host, without a password")
    # The checksums that AWS's client adds by itself come in a framing that other stores refuse.
    for name in ("AWS_REQUEST_CHECKSUM_CALCULATION", "AWS_RESPONSE_CHECKSUM_VALIDATION"):
        os.environ.setdefault(name, "when_required")
    return parts.scheme, parts.netloc


def current_state(uri: str) -> tuple[int, int]:
    """Bytes and time of change of an object, asked now.

    Raises:
        OSError: it is not there, or not to be read.
    """
    info = file_system().get_file_info(_key(uri))
    if not info.is_file:
        raise FileNotFoundError(f"{uri}: no such object")
    return int(info.size), int(info.mtime_ns)


def listed(address: str) -> list[StoredObject]:
    """The objects that an address names: one, those below a prefix, or those that match a pattern.

    Raises:
        OSError: the store cannot be reached, or refuses.
    """
    key = _key(address).rstrip("/")
    fixed = _GLOB.split(key, maxsplit=1)[0]
    if fixed == key:
        info = file_system().get_file_info(key)
        found = [info] if info.is_file else _below(key)
    else:
        wanted = re.compile(cast("str", glob_translate(key)))
        found = [info for info in _below(fixed.rpartition("/")[0]) if wanted.fullmatch(info.path)]
    return [
        StoredObject(SCHEME + info.path, int(info.size), int(info.mtime_ns))
        for info in sorted(found, key=lambda info: str(info.path))
    ]


def _below(prefix: str) -> list[fs.FileInfo]:
    selector = fs.FileSelector(prefix, recursive=True, allow_not_found=True)
    return [info for info in file_system().get_file_info(selector) if info.is_file]


@contextlib.contextmanager
def at_hand(place: FilmPlace) -> Iterator[Path]:
    """Lend the path under which a film can be opened: its own, or that of a fetched copy.

    Raises:
        FilmError: ``vanished`` or ``fetch_failed``, both transient.
    """
    if isinstance(place, Path):
        yield place
        return
    try:
        path, file = _fetched(place.uri)
    except FileNotFoundError as error:
        raise FilmError("vanished", f"{place.uri}: no such object", transient=True) from error
    except OSError as error:
        raise FilmError("fetch_failed", f"{place.uri}: {error}", transient=True) from error
    with file:  # its lock keeps others from removing it
        yield path


def cache_folder() -> Path:
    """Where fetched objects are kept: ``$TEMPO_CACHE``, else the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tempo"
    return Path(os.environ.get("TEMPO_CACHE", default)) / "films"


def cache_bytes() -> int:
    """How much it may hold: ``$TEMPO_CACHE_BYTES``, else 50 GB.

    Raises:
        ValueError: it is not a number of bytes.
    """
    given = os.environ.get("TEMPO_CACHE_BYTES", str(_CACHE_BYTES))
    if not given.isdecimal():
        raise ValueError(f"TEMPO_CACHE_BYTES={given!r}: give a number of bytes")
    return int(given)


def _fetched(uri: str) -> tuple[Path, BinaryIO]:
    """A copy of the object as it is now, and the open file whose lock keeps it.

    The name is made of the object's address and state, so that a changed one is another file.
    """
    size, mtime_ns = current_state(uri)
    name = hashlib.sha256(f"{uri}\0{size}\0{mtime_ns}".encode()).hexdigest()[:32]
    path = cache_folder() / f"{name}{Path(uri).suffix}"
    while True:
        try:
            file = path.open("rb")
        except FileNotFoundError:
            _fetch(uri, size, path)
            continue
        fcntl.flock(file, fcntl.LOCK_SH)
        if _is_still(file, path):
            os.utime(path)  # used now: it is removed late
            return path, file
        file.close()  # removed between the two


def _is_still(file: BinaryIO, path: Path) -> bool:
    """Whether an open file is the one of that name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _fetch(uri: str, size: int, path: Path) -> None:
    """Download an object; it has its name when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _make_room(path.parent, size)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        with file_system().open_input_stream(_key(uri)) as source, partial.open("wb") as copy:
            fcntl.flock(copy, fcntl.LOCK_EX)  # what a killed download leaves is not locked
            shutil.copyfileobj(source, copy, _BLOCK)
            if copy.tell() != size:
                raise OSError(f"{copy.tell()} bytes came of {size}")
            copy.flush()
            # Never over another's copy, which may be in use under that name. One that lost its own
            # to somebody who made room, before it was locked, is asked for again.
            with contextlib.suppress(FileExistsError, FileNotFoundError):
                path.hardlink_to(partial)
    finally:
        partial.unlink(missing_ok=True)


def _make_room(folder: Path, size: int) -> None:
    """Remove what was used longest ago and is not in use, until the next object fits."""
    held = []
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # others make room, too
            state = path.stat()
            held.append((state.st_mtime, state.st_size, path))
    excess = sum(kept for _, kept, _ in held) + size - cache_bytes()
    for _, freed, path in sorted(held):
        if excess <= 0:
            return
        with (
            contextlib.suppress(FileNotFoundError, BlockingIOError),
            path.open("rb") as file,
        ):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(file, path):  # and not another copy, made since this one was opened
                path.unlink()
                excess -= freed


def read_stored(uri: str) -> bytes:
    """A small object's bytes.

    Raises:
        OSError: it is not there, or not to be read.
    """
    with file_system().open_input_stream(_key(uri)) as source:
        found: bytes = source.read()
    return found


def store_folder(folder: Path, address: str, last: str) -> None:
    """Copy the files of a folder to below an address; `last` goes last, for it names the others.

    What lies there with the same size is left: the address is that of these very bytes.

    Raises:
        OSError: the store cannot be reached, or refuses.
    """
    system, root = file_system(), _key(address).rstrip("/")
    there = {info.base_name: info.size for info in _below(root)}
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    for name in [*(name for name in names if name != last), last]:
        path = folder / name
        if there.get(name) == path.stat().st_size:
            continue
        with path.open("rb") as source, system.open_output_stream(f"{root}/{name}") as copy:
            shutil.copyfileobj(source, copy, _BLOCK)


def _key(uri: str) -> str:
    """Bucket and key: what `pyarrow.fs` calls the object."""
    return uri[len(SCHEME) :]
