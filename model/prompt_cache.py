"""Prompt embeddings kept on disk, so that a model of 11 GB need not be loaded to use them again.

Embeddings are kept under their encoder's fingerprint, and that is known only once the encoder is
loaded. So the folder also remembers which fingerprint the files of an encoder had: files are taken
for the same where path, inode, size and times are. An exchange in place moves the time of change
(ctime), which nobody can set back; files changed a moment ago are not remembered, for two changes
within one tick of the clock look alike. The price of doubt is one loading, never another encoder's
embeddings.
"""

import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import pydantic
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from model.errors import PromptCacheError
from model.text import TextEncoder

_ENCODERS = "encoders"
"""Where the folder remembers encoders; embeddings lie in folders of two hex digits."""
_SETTLED_NS = 2_000_000_000
_READING = "1"
"""Bumped when `model.text` makes other embeddings of the same files, or another fingerprint."""
"""Older than the coarsest clock of a file system: such a time cannot stand for two contents."""


class CachedTextEncoder:
    """An encoder whose embeddings are kept on disk, each once.

    A file holds one prompt's own tokens, its padding left out, under a name made of the encoder's
    fingerprint and the text. It is written under another name and then renamed, so that several
    processes can share a folder.

    Args:
        encoder: makes what is not there yet; it may be one that is loaded only then.
        folder: where the files are; made if needed.
    """

    def __init__(self, encoder: TextEncoder, folder: Path) -> None:
        self.encoder = encoder
        self.folder = folder

    @property
    def length(self) -> int:
        """See `TextEncoder.length`."""
        return self.encoder.length

    @property
    def width(self) -> int:
        """See `TextEncoder.width`."""
        return self.encoder.width

    @property
    def fingerprint(self) -> str:
        """That of the encoder: where an embedding was kept does not change it."""
        return self.encoder.fingerprint

    def resident(self, texts: list[str], /) -> nn.Module | None:
        """See `TextEncoder.resident`; None where all these are kept."""
        missing = self._missing(texts)
        return self.encoder.resident(missing) if missing else None

    def path(self, text: str) -> Path:
        """Where the embedding of a prompt is kept."""
        key = hashlib.sha256(f"{self.fingerprint}\0{text}".encode()).hexdigest()[:32]
        return self.folder / key[:2] / f"{key}.safetensors"

    def encode(self, texts: list[str]) -> Tensor:
        """See `TextEncoder.encode`; on the CPU.

        Raises:
            PromptCacheError: a file is damaged, or of another encoder.
        """
        if missing := self._missing(texts):
            for text, embedded in zip(missing, self.encoder.encode(missing), strict=True):
                self._write(text, embedded.cpu())
        return torch.stack([self._read(text) for text in texts])

    def _missing(self, texts: list[str]) -> list[str]:
        return [text for text in dict.fromkeys(texts) if not self.path(text).is_file()]

    def _write(self, text: str, embedded: Tensor) -> None:
        used = embedded.ne(0).any(dim=1).nonzero()
        own = int(used.max()) + 1 if len(used) else 0
        path = self.path(text)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}.part")
        described = {"encoder": self.fingerprint, "text": text}
        save_file({"tokens": embedded[:own].contiguous()}, unfinished, metadata=described)
        unfinished.replace(path)

    def _read(self, text: str) -> Tensor:
        path = self.path(text)
        try:
            with safe_open(path, framework="pt") as file:
                tokens: Tensor = file.get_tensor("tokens")
        except (SafetensorError, OSError) as error:
            raise PromptCacheError(f"{path} cannot be read ({error}); delete it") from error
        if tokens.ndim != 2 or len(tokens) > self.length or tokens.shape[1] != self.width:
            raise PromptCacheError(
                f"{path} holds {tuple(tokens.shape)}, not up to {self.length} x {self.width}: "
                "delete it"
            )
        embedded = tokens.new_zeros(self.length, self.width)
        embedded[: len(tokens)] = tokens
        return embedded


@dataclasses.dataclass(frozen=True, slots=True)
class TextIdentity:
    """What a `TextEncoder` tells of itself without being asked to encode."""

    fingerprint: str
    length: int
    width: int


class DeferredTextEncoder:
    """An encoder that is loaded when it is first asked to encode.

    Args:
        identity: what the encoder will turn out to be.
        load: loads it.
        remembered: the file that `identity` was read from.
    """

    def __init__(
        self, identity: TextIdentity, load: Callable[[], TextEncoder], remembered: Path
    ) -> None:
        self.fingerprint = identity.fingerprint
        self.length, self.width = identity.length, identity.width
        self._load, self._remembered = load, remembered

    def resident(self, texts: list[str], /) -> nn.Module | None:
        """See `TextEncoder.resident`; loads it."""
        return self._loaded.resident(texts)

    def encode(self, texts: list[str]) -> Tensor:
        """See `TextEncoder.encode`.

        Raises:
            PromptCacheError: what was loaded is another encoder.
        """
        return self._loaded.encode(texts)

    @cached_property
    def _loaded(self) -> TextEncoder:
        encoder = self._load()
        if encoder.fingerprint != self.fingerprint:
            raise PromptCacheError(
                f"the text encoder is not the one that {self._remembered} names: its files were "
                "exchanged during this run, or are read differently now; delete that file and run "
                "again"
            )
        return encoder


def known_or_loaded(
    folder: Path, files: Sequence[Path], settings: Sequence[str], load: Callable[[], TextEncoder]
) -> TextEncoder:
    """An encoder that waits with loading, if the folder remembers its files; else the loaded one.

    Args:
        folder: of a `CachedTextEncoder`.
        files: all that `load` reads.
        settings: whatever else decides what it makes of them.
        load: loads the encoder.
    """
    if not files:
        return load()  # which says what is missing
    seen = time.time_ns()
    name, newest = _state(files, settings)
    remembered = folder / _ENCODERS / f"{name}.json"
    identity = _read_identity(remembered)
    if identity is not None:
        return DeferredTextEncoder(identity, load, remembered)
    encoder = load()
    if newest < seen - _SETTLED_NS and _state(files, settings)[0] == name:
        _write_identity(remembered, encoder)
    return encoder


def _state(files: Sequence[Path], settings: Sequence[str]) -> tuple[str, int]:
    """32 hex digits of what files are there, and when the last of them changed."""
    stats = [(str(path.resolve()), path.stat()) for path in files]
    listed = [
        [name, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
        for name, stat in stats
    ]
    # Another version of the libraries may read the same files as another model, or other words.
    readers = [_READING, version("transformers"), version("ftfy")]
    decisive = json.dumps([readers, list(settings), listed])
    newest = max(max(stat.st_mtime_ns, stat.st_ctime_ns) for _, stat in stats)
    return hashlib.sha256(decisive.encode()).hexdigest()[:32], newest


def _read_identity(path: Path) -> TextIdentity | None:
    try:
        return pydantic.TypeAdapter(TextIdentity).validate_json(path.read_bytes())
    except (OSError, ValueError):
        return None  # not there, or damaged: the encoder itself knows


def _write_identity(path: Path, encoder: TextEncoder) -> None:
    identity = TextIdentity(encoder.fingerprint, encoder.length, encoder.width)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}.part")
    unfinished.write_text(json.dumps(dataclasses.asdict(identity)) + "\n", encoding="utf-8")
    unfinished.replace(path)
