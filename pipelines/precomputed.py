"""Which precomputed sets a training run uses: found in the catalog, by the run's own encoders.

The job settles it once, before ranks start, and says it. What exists but cannot be used is said
too, with the reason; it is never taken for absent.
"""

import dataclasses

import torch

from curation.catalog.store import Catalog
from curation.records import SideShardsRow
from pipelines.settings import Home
from training.config import TrainConfig
from training.errors import SideShardError
from training.frozen import frozen_codec, frozen_text
from training.latent_windows import latents_head
from training.precomputed import Precomputed, Use
from training.side_shards import Kind, SideHead, SideRef, SideShards
from training.stored_text import text_head
from training.versions import PublishedVersion

_MADE = {"text": "text embeddings", "latents": "latents"}
_OTHERWISE = "encoded on the fly"


@dataclasses.dataclass(frozen=True, slots=True)
class Choice:
    """What a run uses.

    Attributes:
        precomputed: the sets.
        said: kind -> what to tell a person about it.
    """

    precomputed: Precomputed
    said: dict[str, str]

    @property
    def lines(self) -> list[str]:
        """What to tell, line by line."""
        return [f"{_MADE[kind]}: {what}" for kind, what in self.said.items()]


def choose(catalog: Catalog, home: Home, version: PublishedVersion, config: TrainConfig) -> Choice:
    """Find what there is for a run.

    Args:
        catalog: of the home.
        home: where sets are.
        version: that the run is on.
        config: of the run, its first weights named by a full path.

    Raises:
        SideShardError: a set is required, and there is none, or it is not whole.
        CheckpointError: an encoder is not where it should be.
        CatalogError: the catalog is unreachable.
    """
    text, of_text = _one("text", config.precomputed.text, catalog, home, version, config)
    if config.data.windows.starts is None:  # and required they are not, or it were refused
        latents, of_latents = None, f"{_OTHERWISE} (data.windows.starts = none)"
    else:
        use = config.precomputed.latents
        latents, of_latents = _one("latents", use, catalog, home, version, config)
    return Choice(Precomputed(text, latents), {"text": of_text, "latents": of_latents})


def _one(
    kind: Kind,
    use: Use,
    catalog: Catalog,
    home: Home,
    version: PublishedVersion,
    config: TrainConfig,
) -> tuple[SideRef | None, str]:
    if use == "never":
        return None, f"{_OTHERWISE} (precomputed.{kind} = never)"
    rows = catalog.rows(SideShardsRow, {"kind": kind, "manifest_sha256": version.sha256})
    if not rows:
        return _without(kind, use, f"none precomputed for {version.reference}")
    # Only now, for it may be 11 GB: the encoder itself tells who it is, its name does not.
    return _usable(home, rows, head_of(kind, version, config), use, version)


def _usable(
    home: Home, rows: list[SideShardsRow], head: SideHead, use: Use, version: PublishedVersion
) -> tuple[SideRef | None, str]:
    """The set that `head` identifies, seen to be in place."""
    row = next((row for row in rows if row.side_id == head.side_id), None)
    if row is None:
        others = ", ".join(sorted({row.fingerprint for row in rows}))
        return _without(
            head.kind,
            use,
            f"none precomputed for {version.reference} by {head.fingerprint} with these settings; "
            f"there are some by {others}",
        )
    ref = SideRef(str(home.root / row.uri), row.sha256)
    try:
        with SideShards.open(ref) as shards:
            size = f"{len(shards):,} in {shards.bytes / 1e6:,.1f} MB"
            lacks = _lacks(head.kind, shards.damaged)
    except SideShardError as error:
        return _without(head.kind, use, str(error))
    return ref, f"precomputed ({head.folder_name}: {size}){lacks}"


def _lacks(kind: Kind, damaged: dict[str, str]) -> str:
    """What a person should know of samples that a set lacks; nothing where it lacks none."""
    if not damaged:
        return ""
    then = {
        "text": "training stops at the first that is not any more",
        "latents": "others are shown in their place, also of those that are not any more",
    }[kind]
    return (
        f"; samples damaged when it was made: {len(damaged):,} (such as {min(damaged)}); {then}. "
        "Where they have been put right, run `tempo precompute` again before training"
    )


def head_of(kind: Kind, version: PublishedVersion, config: TrainConfig) -> SideHead:
    """What identifies the set that a run can use; loads the encoder, which tells who it is.

    Raises:
        CheckpointError: it is not where the config says.
    """
    cpu = torch.device("cpu")
    if kind == "text":
        return text_head(version.sha256, frozen_text(config, cpu))
    return latents_head(version.sha256, config, frozen_codec(config, cpu))


def _without(kind: str, use: Use, why: str) -> tuple[None, str]:
    if use == "require":
        raise SideShardError(
            f"precomputed.{kind} = require: {why}; make them with `tempo precompute`, as you "
            f"train, or set precomputed.{kind}=auto"
        )
    return None, f"{_OTHERWISE} ({why})"
