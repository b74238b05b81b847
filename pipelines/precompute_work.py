"""What a worker of `tempo precompute` does: one shard after the other, with one encoder.

A shard that is in place is read and held against its hash, and left alone; so a worker loads its
encoder for the first shard that lacks something, and none where nothing does. (The job itself loads
it once in any case, onto the CPU: what identifies a set is the encoder's weights, not its name.)
"""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import torch

from model.codec import LatentCodec
from model.text import TextEncoder
from pipelines.devices import Claim, claim_device
from training.config import TrainConfig
from training.frozen import frozen_codec, frozen_text
from training.latent_windows import SampleWindows
from training.side_shards import WrittenShard, sound_shard, write_shard
from training.stored_text import embedded

EncoderT = TypeVar("EncoderT")


@dataclasses.dataclass(frozen=True, slots=True)
class ShardTask:
    """A shard that is to be in place.

    Attributes:
        folder: of its set.
        name: of the shard.
        plan: hash of what is to be in it.
        items: captions, or ids of samples.
    """

    folder: Path
    name: str
    plan: str
    items: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class ShardMade:
    """A shard that is in place, and whether it was written for this."""

    shard: WrittenShard
    fresh: bool


@dataclasses.dataclass
class Maker(Generic[EncoderT]):
    """What a worker holds.

    Attributes:
        config: of the runs that this is for.
        locks: folder in which workers claim GPUs.
        load: makes the encoder.
    """

    config: TrainConfig
    locks: Path
    load: Callable[[TrainConfig, torch.device], EncoderT]

    @functools.cached_property
    def claim(self) -> Claim:
        """A GPU of its own where there are any."""
        return claim_device(self.locks, "cuda" if torch.cuda.is_available() else "cpu")

    @functools.cached_property
    def encoder(self) -> EncoderT:
        """Loaded when it is first needed."""
        return self.load(self.config, torch.device(self.claim.device))


@dataclasses.dataclass
class LatentMaker(Maker[LatentCodec]):
    """What a worker needs to encode windows.

    Attributes:
        manifest: of the dataset version.
        sha256: of the manifest.
    """

    manifest: str
    sha256: str

    @functools.cached_property
    def windows(self) -> SampleWindows:
        """Of the training side; opened when they are first needed."""
        return SampleWindows.open(self.manifest, self.sha256, self.config)


def text_maker(config: TrainConfig, locks: Path) -> Maker[TextEncoder]:
    """What a worker needs to embed captions."""
    return Maker(config, locks, frozen_text)


def make_text(maker: Maker[TextEncoder], task: ShardTask) -> ShardMade:
    """See that a shard of embeddings is in place.

    Raises:
        SideShardError: what was written does not read back.
        OSError: the disk is full or read-only, or the encoder is not where it should be.
    """
    found = sound_shard(task.folder, task.name, task.plan)
    if found is not None:
        return ShardMade(found, fresh=False)
    # Loaded before anything is written, so that a missing encoder leaves nothing behind.
    encoder = maker.encoder
    members = embedded(task.items, encoder)
    return ShardMade(write_shard(task.folder, task.name, task.plan, members, {}), fresh=True)


def latent_maker(manifest: str, sha256: str, config: TrainConfig, locks: Path) -> LatentMaker:
    """What a worker needs to encode windows."""
    return LatentMaker(config, locks, frozen_codec, manifest, sha256)


def make_latents(maker: LatentMaker, task: ShardTask) -> ShardMade:
    """See that a shard of latents is in place; raises as `make_text` does.

    One that lacks samples which were damaged is tried again: they may be whole by now.
    """
    found = sound_shard(task.folder, task.name, task.plan)
    if found is not None and not found.damaged:
        return ShardMade(found, fresh=False)
    codec, device = maker.encoder, torch.device(maker.claim.device)
    damaged: dict[str, str] = {}
    members = maker.windows.members(task.items, codec, device, damaged)
    return ShardMade(write_shard(task.folder, task.name, task.plan, members, damaged), fresh=True)
