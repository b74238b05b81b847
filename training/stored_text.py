"""Text embeddings made ahead of training: which captions there are, and an encoder that reads them.

An embedding depends on the encoder and on its own caption alone, and what captions a version can
show depends on its shots alone, not on windows, seeds or stages. So one set serves all runs over a
version with that encoder, and a rank that has it need not hold the encoder (11 GB of Wan's). The
trade-off: a sample of n shots has n(n+1)/2 captions, more than most runs will ever show.
"""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from curation.identities import digest
from model.schedule import TOP_RATE
from model.text import TextEncoder
from training.errors import SideShardError
from training.examples import caption_of
from training.samples import Shot
from training.side_shards import SideHead, SideRef, SideShards

_TOKENS = "tokens"
_STRIDES = tuple(stride for stride in range(1, TOP_RATE + 1) if TOP_RATE % stride == 0)


def captions_of(shots: tuple[Shot, ...]) -> set[str]:
    """Every caption that a window of a sample can have, at any rate, length and start.

    A window shows shots that follow each other; only one that is shorter than the step from frame
    to frame can be stepped over.
    """
    ends = np.array([shot.end for shot in shots])
    shortest = min(shot.end - shot.start for shot in shots)
    runs: set[tuple[int, ...]] = set()
    for stride in _STRIDES:
        if 1 < stride <= shortest:
            continue  # steps over nothing, so it shows what a step of 1 shows
        for first in range(min(stride, int(ends[-1]))):
            frames = np.arange(first, ends[-1], stride)
            shown = np.unique(np.searchsorted(ends, frames, side="right")).tolist()
            runs |= {
                tuple(shown[i:j]) for i in range(len(shown)) for j in range(i + 1, len(shown) + 1)
            }
    return {caption_of(shots, np.array(run)) for run in runs}


def caption_key(caption: str) -> str:
    """The name of a caption's embedding in a set."""
    return digest("caption", caption)


def text_head(manifest_sha256: str, encoder: TextEncoder) -> SideHead:
    """What identifies the embeddings of a version's captions by an encoder."""
    settings = {"length": encoder.length, "width": encoder.width}
    return SideHead("text", manifest_sha256, encoder.fingerprint, settings)


def embedded(
    captions: Iterable[str], encoder: TextEncoder
) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Embed captions one by one, as training does: each as a member of a set."""
    for caption in captions:
        tokens = encoder.encode([caption])[0].cpu()
        used = tokens.ne(0).any(dim=1).nonzero()
        own = int(used.max()) + 1 if len(used) else 0
        yield caption_key(caption), {_TOKENS: tokens[:own].contiguous()}


@dataclasses.dataclass(frozen=True)
class StoredText:
    """A `TextEncoder` that knows the captions of one dataset version.

    Make it with `StoredText.open`; use it as a context manager.
    """

    shards: SideShards

    @classmethod
    def open(cls, ref: SideRef) -> Self:
        """Open a set of embeddings.

        Raises:
            SideShardError: it is not whole.
        """
        return cls(SideShards.open(ref))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.shards.close()

    @property
    def length(self) -> int:
        """See `TextEncoder.length`."""
        return int(self._settings["length"])

    @property
    def width(self) -> int:
        """See `TextEncoder.width`."""
        return int(self._settings["width"])

    @property
    def fingerprint(self) -> str:
        """That of the encoder which made them."""
        return self.shards.head.fingerprint

    def resident(self, _: list[str], /) -> nn.Module | None:
        """See `TextEncoder.resident`."""
        return None

    def encode(self, texts: list[str]) -> Tensor:
        """See `TextEncoder.encode`; on the CPU.

        Raises:
            SideShardError: an embedding is damaged, or of a caption that the version did not have.
        """
        return torch.stack([self._one(text) for text in texts])

    @property
    def _settings(self) -> dict[str, Any]:
        return self.shards.head.settings

    def _one(self, text: str) -> Tensor:
        try:
            tokens = self.shards.read(caption_key(text))[_TOKENS]
        except KeyError as error:
            raise SideShardError(
                f"no embedding of {text[:80]!r} was precomputed: its sample was damaged then, and "
                "is not now. Run `tempo precompute` again, or set precomputed.text=never"
            ) from error
        whole = tokens.new_zeros(self.length, self.width)
        whole[: len(tokens)] = tokens
        return whole
