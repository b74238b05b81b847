"""Files that a run loads models from: found beforehand, hashed, and named when they are absent.

Nothing is fetched unless a recipe says so, and a missing file is an error before the first film is
opened, never a substitute. The trade-off: a person fetches weights once by hand, or asks for it.
"""

import dataclasses
import hashlib
from pathlib import Path

from curation.errors import CurationError


@dataclasses.dataclass(frozen=True, slots=True)
class ModelFile:
    """A file that a run would load."""

    used_by: str
    """The setting that asks for it, e.g. ``score.backbone``."""
    what: str
    path: Path | None
    """Where it is; None where it is absent."""
    bytes: int | None
    remedy: str | None
    """What to fetch and where to put it, where it is absent; or what is wrong with it."""


def found(used_by: str, what: str, path: Path) -> ModelFile:
    """A file that is there."""
    return ModelFile(used_by, what, path, path.stat().st_size, None)


def absent(used_by: str, what: str, remedy: str) -> ModelFile:
    """A file that is not there."""
    return ModelFile(used_by, what, None, None, remedy)


def require(files: list[ModelFile], alternative: str) -> None:
    """Raise `CurationError` that names every absent file, its remedy, and what to do without."""
    missing = [f"{file.what} ({file.used_by}): {file.remedy}" for file in files if not file.path]
    if missing:
        raise CurationError(
            f"model files are missing. {'; '.join(missing)}. Or do without: {alternative}"
        )


def sha256_of(file: ModelFile) -> str:
    """Hash of the bytes of a file that is there."""
    assert file.path is not None
    with file.path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def local_file(name: str, folder: Path) -> Path | None:
    """The file that a recipe names: a path of its own, else a name in the home's ``weights``."""
    for path in (Path(name).expanduser(), folder / name):
        if path.is_file():
            return path.absolute()
    return None
