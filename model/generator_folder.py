"""A folder that holds everything that generation needs, in the layout of diffusers' pipelines.

`transformer/` holds the network; `tempo.json` names codec and text encoder with their parameters,
and where their weights are: in the folder itself (`vae/`, `text_encoder/`, `tokenizer/`), in
another one (10 GB need not be copied into every checkpoint), or nowhere, for those that have none.
A released Wan folder has a `model_index.json` instead, and loads too. Nothing is guessed: a folder
with neither is refused.
"""

import dataclasses
import functools
import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pydantic
import torch

from model.codec import LatentCodec, WanCodec
from model.dct import Coefficient, DctCodec, Layout, Scale, standard_layout
from model.errors import CheckpointError
from model.generation import TreeGenerator
from model.lora import load_lora
from model.presets import DiTConfig
from model.prompt_cache import CachedTextEncoder, known_or_loaded
from model.text import ByteEncoder, TextEncoder, Umt5Encoder
from model.tree import WINDOW_CAP

if TYPE_CHECKING:
    from model.dit import MultiMaskDiT

DESCRIPTION = "tempo.json"
_FORMAT = 1
_WAN_INDEX = "model_index.json"
_NETWORK = "transformer"
_UMT5 = ("text_encoder", "tokenizer")
_SECOND_EXPERT = "transformer_2"


@dataclasses.dataclass(frozen=True, slots=True)
class CodecSpec:
    """Which codec the network was trained on.

    Attributes:
        kind: "wan" (an autoencoder) or "dct" (no weights).
        source: of "wan": the folder, or name on the hub, that has `vae/`; None: the checkpoint.
        layout: of "dct": kept coefficients where they are not the standard ones.
        scale: of "dct" with the standard ones: how they are normalised.
    """

    kind: Literal["wan", "dct"]
    source: str | None = None
    layout: Layout | None = None
    scale: Scale = "channels"

    def __post_init__(self) -> None:
        if self.scale != "channels" and (self.kind == "wan" or self.layout is not None):
            raise ValueError(f"scale={self.scale!r}: only the dct codec's standard layout has one")
        if self.kind == "dct" and self.source is not None:
            raise ValueError(f"source={self.source!r}: the dct codec has no weights; leave it out")
        if self.kind == "wan" and self.layout is not None:
            raise ValueError("layout: only the dct codec has one; leave it out")


@dataclasses.dataclass(frozen=True, slots=True)
class TextSpec:
    """Which text encoder the network was trained with.

    Attributes:
        kind: "umt5" or "bytes" (no weights).
        source: of "umt5": the folder, or name on the hub, that has `text_encoder/` and
            `tokenizer/`; None: the checkpoint.
        length: tokens.
        width: of "bytes": channels of a token.
    """

    kind: Literal["umt5", "bytes"]
    source: str | None = None
    length: int = 512
    width: int | None = None

    def __post_init__(self) -> None:
        if self.kind == "bytes" and (self.source is not None or self.width is None):
            raise ValueError("text encoder 'bytes': name its width, and no source")
        if self.length < 1:
            raise ValueError(f"length={self.length}: must be at least 1")


@dataclasses.dataclass(frozen=True, slots=True)
class GeneratorSpec:
    """What stands beside the network.

    Attributes:
        codec: its latents.
        text: its prompts.
        window_cap: longest window in frames that it was trained on; None: not known, and taken for
            the paper's.
    """

    codec: CodecSpec
    text: TextSpec
    window_cap: int | None = None

    def __post_init__(self) -> None:
        if self.window_cap is not None and self.window_cap < 1:
            raise ValueError(f"window_cap={self.window_cap}: must be at least 1 frame")

    @property
    def longest_window(self) -> int:
        """The longest that is known or taken to be good, in frames."""
        return WINDOW_CAP if self.window_cap is None else self.window_cap

    def description(self) -> str:
        """The content of `tempo.json`."""
        document = {"format": _FORMAT, **dataclasses.asdict(self)}
        if self.window_cap is None:
            del document["window_cap"]  # as it was before there was one
        return json.dumps(document, indent=2) + "\n"


WAN = GeneratorSpec(CodecSpec("wan"), TextSpec("umt5"), window_cap=81)
"""What a released Wan folder holds: networks for 81 frames."""


@dataclasses.dataclass(frozen=True, slots=True)
class Adapter:
    """A low-rank adapter to fuse into the network."""

    file: Path
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.weight):
            raise ValueError(
                f"weight={self.weight} of {self.file}: it multiplies what is added to the network, "
                "so give a number; 1 is as trained, 0 adds nothing"
            )


@dataclasses.dataclass(frozen=True, slots=True)
class Loading:
    """How a generator is brought into memory.

    Attributes:
        device: where it works.
        dtype: of network and text encoder, upstream's float32 islands apart; the autoencoder is
            float32, as its makers have it.
        offload: see `TreeGenerator`.
        tiling: decode and encode pictures in tiles; needed above 480p, and not quite the same.
        prompt_cache: folder of embeddings that are kept; where it has all prompts, the text
            encoder need not be loaded.
        adapters: fused in this order.
    """

    device: str = "cpu"
    dtype: torch.dtype = torch.float32
    offload: bool = False
    tiling: bool = False
    prompt_cache: Path | None = None
    adapters: tuple[Adapter, ...] = ()

    @property
    def rest(self) -> torch.device:
        """Where parts are while they do not work."""
        return torch.device("cpu" if self.offload else self.device)


def save_generator(folder: Path, network: "MultiMaskDiT", spec: GeneratorSpec) -> None:
    """Write a network and what it needs beside it.

    Where a spec names no source for weights, put them there: `codec.vae.save_pretrained(folder /
    "vae")`, and likewise `text_encoder` and `tokenizer`.

    Args:
        folder: made if needed. The description is written last: a folder without it is unfinished.
        network: whole, not sharded.
        spec: codec and text encoder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    network.save_pretrained(folder / _NETWORK)
    unfinished = folder / f".{DESCRIPTION}.{os.getpid()}"
    unfinished.write_text(spec.description(), encoding="utf-8")
    unfinished.replace(folder / DESCRIPTION)


def read_spec(folder: Path) -> GeneratorSpec:
    """What a folder says that it holds; reads no weights.

    Raises:
        CheckpointError: no such folder, no description in it, or one of another version.
    """
    if not folder.is_dir():
        raise CheckpointError(f"checkpoint {folder}: there is no such folder")
    if (folder / "generator" / DESCRIPTION).is_file():
        raise CheckpointError(f"checkpoint {folder} is one of training: name its generator/")
    if not (folder / _NETWORK / "config.json").is_file():
        raise CheckpointError(
            f"checkpoint {folder} holds no {_NETWORK}/config.json: name a folder written by "
            "training, or one in diffusers' layout such as Wan2.2-I2V-A14B-Diffusers"
        )
    if not (folder / DESCRIPTION).is_file():
        if (folder / _WAN_INDEX).is_file():
            return WAN
        raise CheckpointError(
            f"checkpoint {folder} has neither {DESCRIPTION} nor {_WAN_INDEX}, so codec and text "
            "encoder are unknown; write it with save_generator"
        )
    return _parsed(folder / DESCRIPTION)


def read_network(folder: Path) -> DiTConfig:
    """Size of the network in a checked folder; reads no weights.

    Raises:
        CheckpointError: its config cannot be read.
    """
    path = folder / _NETWORK / "config.json"
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        known = {f.name: config[f.name] for f in dataclasses.fields(DiTConfig) if f.name in config}
        return pydantic.TypeAdapter(DiTConfig).validate_python(known)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error


def generator_files(folder: Path) -> list[Path]:
    """The files that `load_generator` reads, in order; what lies on a hub is not among them.

    Raises:
        CheckpointError: as `read_spec`.
    """
    spec = read_spec(folder)
    folders = [folder / _NETWORK]
    for source, names in (
        (spec.codec.source, ("vae",) if spec.codec.kind == "wan" else ()),
        (spec.text.source, _UMT5 if spec.text.kind == "umt5" else ()),
    ):
        folders += [Path(source or folder) / name for name in names]
    described = [path for name in (DESCRIPTION,) if (path := folder / name).is_file()]
    return described + [path for place in folders for path in _files(place)]


def _parsed(path: Path) -> GeneratorSpec:
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if document.pop("format") != _FORMAT:
            raise CheckpointError(f"{path} is of another version of tempomaster; write it again")
        layout = document["codec"].get("layout")
        if layout is not None:
            layout["coefficients"] = [Coefficient(*entry) for entry in layout["coefficients"]]
        return pydantic.TypeAdapter(GeneratorSpec).validate_python(document)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error


def warnings_of(folder: Path) -> list[str]:
    """What may turn out badly with this checkpoint, each with its remedy."""
    if not (folder / _SECOND_EXPERT).is_dir():
        return []
    warning = (
        f"{folder} holds two experts, and {_NETWORK}/, which is used at all noise levels, was "
        "released for high noise only: train its first stage before judging pictures"
    )
    return [warning]


def load_generator(folder: Path, loading: Loading | None = None) -> TreeGenerator:
    """Load a checkpoint for generation.

    Args:
        folder: written by `save_generator`, or a released Wan folder.
        loading: how.

    Raises:
        CheckpointError: something is missing, or cannot be read.
    """
    from model.dit import MultiMaskDiT  # seconds, for diffusers, that reading a spec need not wait

    loading = loading or Loading()
    spec = read_spec(folder)
    try:
        network = MultiMaskDiT.from_pretrained(folder / _NETWORK, torch_dtype=loading.dtype)
        for number, adapter in enumerate(loading.adapters):
            load_lora(
                network, adapter.file, weight=adapter.weight, fuse=True, name=f"adapter_{number}"
            )
        codec = load_codec(folder, spec.codec, loading)
        text = load_text_encoder(folder, spec.text, loading)
    except OSError as error:
        raise CheckpointError(f"checkpoint {folder} is incomplete: {error}") from error
    torch.nn.Module.to(network, loading.rest).requires_grad_(False)
    return TreeGenerator(network, codec, text, loading.offload, torch.device(loading.device))


def load_codec(folder: Path, spec: CodecSpec, loading: Loading) -> LatentCodec:
    """Load the codec that a spec names; `folder` is where its weights are if it names no source."""
    if spec.kind == "dct":
        return DctCodec(spec.layout or standard_layout(spec.scale))
    return WanCodec.load(
        spec.source or folder, device=loading.rest, tiling=loading.tiling, slicing=True
    )


def load_text_encoder(folder: Path, spec: TextSpec, loading: Loading) -> TextEncoder:
    """Load the text encoder that a spec names; as `load_codec`.

    Behind a prompt cache that remembers it, it is loaded only when a prompt is missing. That takes
    files whose state can be seen: one that is named on the hub is loaded always.
    """
    if spec.kind == "bytes":
        assert spec.width is not None
        return _cached(ByteEncoder(width=spec.width, length=spec.length), loading)
    source = spec.source or folder
    load = functools.partial(
        Umt5Encoder.load, source, length=spec.length, dtype=loading.dtype, device=loading.rest
    )
    if loading.prompt_cache is None or not Path(source).is_dir():
        return _cached(load(), loading)
    files = [path for name in _UMT5 for path in _files(Path(source) / name)]
    settings = (str(loading.dtype), str(spec.length))
    return _cached(known_or_loaded(loading.prompt_cache, files, settings, load), loading)


def _cached(encoder: TextEncoder, loading: Loading) -> TextEncoder:
    if loading.prompt_cache is None:
        return encoder
    return CachedTextEncoder(encoder, loading.prompt_cache)


def _files(place: Path) -> list[Path]:
    return [path for path in sorted(place.rglob("*")) if path.is_file()]
