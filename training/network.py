"""The network as it is trained: made, filled with weights, given adapters, split, compiled.

Parameters are filled one by one from wherever they come (a released folder, the average of an
earlier checkpoint), under every ZeRO stage alike, so that no rank ever holds more than its shards
of the network and one whole parameter. The trade-off is that loading goes through rank 0. Diffusers
is imported where a network is made: it takes seconds, which nobody pays who only reads configs.
"""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import torch
from safetensors import safe_open
from torch import Tensor

from model.lora import LoraSettings, add_lora
from model.presets import DiTConfig
from training.checkpoint import StoredState
from training.engine import EngineConfig, construction, whole
from training.errors import CheckpointError
from training.ranks import World
from training.recompute import Recompute, recompute

if TYPE_CHECKING:
    from model.dit import MultiMaskDiT

_WEIGHTS = "diffusion_pytorch_model.safetensors"
_SUBFOLDER = "transformer"


@dataclasses.dataclass(frozen=True, slots=True)
class InitConfig:
    """What the weights are before the first step.

    Attributes:
        kind: "random" (drawn from the run's seed), "pretrained" (a folder in diffusers' layout, or
            a name on the hub), or "checkpoint" (the averaged weights of a training run).
        source: of "pretrained" and "checkpoint".
    """

    kind: Literal["random", "pretrained", "checkpoint"] = "random"
    source: str | None = None

    def __post_init__(self) -> None:
        if self.kind == "random" and self.source is not None:
            raise ValueError(
                f"init.source = {self.source!r} with init.kind = random: leave it out, or set "
                "init.kind to pretrained or checkpoint"
            )


@dataclasses.dataclass(frozen=True, slots=True)
class NetworkConfig:
    """The network and how its blocks run.

    Attributes:
        size: of the network.
        init: its first weights.
        lora: train low-rank adapters instead of all weights.
        recompute: what is computed again in the backward pass; see `training.recompute`.
        recompute_every: of the blocks, each n-th is recomputed.
        compile: fuse each block's operations by `torch.compile`.
    """

    size: DiTConfig
    init: InitConfig = dataclasses.field(default_factory=InitConfig)
    lora: LoraSettings | None = None
    recompute: Recompute = "none"
    recompute_every: int = 1
    compile: bool = False

    def __post_init__(self) -> None:
        if self.recompute_every < 1:
            raise ValueError(f"network.recompute_every = {self.recompute_every}: give at least 1")
        if self.lora is not None and self.init.kind == "random":
            raise ValueError(
                "network.lora with network.init.kind = random: adapters of random weights are "
                "worth nothing; name trained ones by network.init.kind and network.init.source"
            )


class WeightSource(Protocol):
    """Somewhere that weights come from."""

    def shape(self, name: str) -> tuple[int, ...] | None:
        """Of a parameter; None where there is none of that name."""
        ...

    def read(self, name: str) -> Tensor:
        """A parameter."""
        ...


class FolderWeights:
    """Weights in diffusers' layout: one safetensors file, or several and their index.

    Args:
        folder: holds them, itself or in ``transformer/``.

    Raises:
        CheckpointError: no weights there.
    """

    def __init__(self, folder: Path) -> None:
        inner = folder / _SUBFOLDER
        self._folder = inner if inner.is_dir() else folder
        index = self._folder / f"{_WEIGHTS}.index.json"
        if index.is_file():
            self._files: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))[
                "weight_map"
            ]
        elif (self._folder / _WEIGHTS).is_file():
            with safe_open(self._folder / _WEIGHTS, framework="pt") as file:
                self._files = dict.fromkeys(file.keys(), _WEIGHTS)
        else:
            raise CheckpointError(
                f"network.init.source: {self._folder} holds no {_WEIGHTS}; name a folder in "
                "diffusers' layout, or a run's checkpoint with network.init.kind = checkpoint"
            )

    def shape(self, name: str) -> tuple[int, ...] | None:
        """See `WeightSource`."""
        if name not in self._files:
            return None
        with safe_open(self._folder / self._files[name], framework="pt") as file:
            return tuple(file.get_slice(name).get_shape())

    def read(self, name: str) -> Tensor:
        """See `WeightSource`."""
        with safe_open(self._folder / self._files[name], framework="pt") as file:
            found: Tensor = file.get_tensor(name)
        return found


class AveragedWeights:
    """The averaged weights of a checkpoint.

    Args:
        stored: of a run that trained all weights.
    """

    def __init__(self, stored: StoredState) -> None:
        self._stored = stored

    def shape(self, name: str) -> tuple[int, ...] | None:
        """See `WeightSource`."""
        return self._stored.shapes.get(name)

    def read(self, name: str) -> Tensor:
        """See `WeightSource`."""
        return self._stored.whole(name, "ema")


class DrawnWeights:
    """Random weights, drawn as a network draws that is made whole, in float32.

    Under ZeRO 3 parameters are cast and sharded while they are drawn, and would come out otherwise.

    Args:
        size: of the network.
        seed: of the run.
    """

    def __init__(self, size: DiTConfig, seed: int) -> None:
        from model.dit import MultiMaskDiT

        torch.manual_seed(seed)
        self._weights = dict(MultiMaskDiT.of(size).named_parameters())

    def shape(self, name: str) -> tuple[int, ...] | None:
        """See `WeightSource`."""
        return tuple(self._weights[name].shape) if name in self._weights else None

    def read(self, name: str) -> Tensor:
        """See `WeightSource`."""
        return self._weights[name].detach()


def source_of(init: InitConfig) -> WeightSource | None:
    """Where first weights come from; None where they are random.

    Raises:
        CheckpointError: nothing usable is there.
        ValueError: no source was named.
    """
    if init.kind == "random":
        return None
    if init.source is None:
        raise ValueError(
            f"network.init.kind = {init.kind}: name where by network.init.source, e.g. "
            "tempo train … --set network.init.source=checkpoints/RUN/step-00015000"
        )
    folder = Path(init.source)
    if init.kind == "checkpoint":
        return AveragedWeights(StoredState(folder))
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        folder = Path(snapshot_download(init.source, allow_patterns=[f"{_SUBFOLDER}/*"]))
    return FolderWeights(folder)


def build_network(
    config: NetworkConfig, engine: EngineConfig, seed: int, world: World, *, blank: bool = False
) -> "MultiMaskDiT":
    """Make the network; all ranks call it together.

    Args:
        config: of the network.
        engine: decides how it is sharded.
        seed: of random weights.
        world: all ranks.
        blank: what is trained will be overwritten, so its first weights need not be there any more.

    Raises:
        CheckpointError: its first weights are not there, or of another network.
    """
    from model.dit import MultiMaskDiT

    source = None
    if config.lora is not None or not blank:
        source = source_of(config.init)
        if source is None and engine.zero == 3:
            source = DrawnWeights(config.size, seed)
    with construction(engine, world):
        torch.manual_seed(seed)
        network = MultiMaskDiT.of(config.size)
    if source is not None:
        fill(network, source, world)
    if config.lora is not None:
        torch.manual_seed(seed)
        with construction(engine, world):
            add_lora(network, config.lora)
    recompute(network, config.recompute, config.recompute_every)
    if engine.context_parallel > 1:
        _share_tokens(network, engine.context_parallel, world)
    if config.compile:
        for block in network.blocks:
            block.forward = torch.compile(block.forward)
    return network


def fill(network: "MultiMaskDiT", source: WeightSource, world: World) -> None:
    """Copy all parameters from a source.

    Raises:
        CheckpointError: it is of another network.
    """
    for name, parameter in network.named_parameters():
        wanted = tuple(getattr(parameter, "ds_shape", parameter.shape))
        found = source.shape(name)
        if found != wanted:
            raise CheckpointError(
                f"network.init.source has {name} of shape {found}, and network.size asks for "
                f"{wanted}: it is of another network"
            )
    for name, parameter in network.named_parameters():
        with torch.no_grad(), whole(parameter, write=True):
            if world.first or not hasattr(parameter, "ds_id"):
                parameter.copy_(source.read(name))


def _share_tokens(network: "MultiMaskDiT", degree: int, world: World) -> None:
    """Split each sample's tokens over neighbouring ranks (Ulysses)."""
    from diffusers.models._modeling_parallel import ContextParallelConfig
    from torch.distributed.device_mesh import init_device_mesh

    heads = network.config["num_attention_heads"]
    if heads % degree:
        raise ValueError(
            f"engine.context_parallel = {degree}: {heads} attention heads cannot be shared evenly"
        )
    mesh = init_device_mesh(
        world.device.type,
        (world.data_ranks, 1, degree),
        mesh_dim_names=("data", "ring", "ulysses"),
    )
    if world.device.type == "cpu":
        # diffusers places rank r on device r modulo the number of accelerators, and counts no CPU.
        torch.accelerator.device_count = lambda: world.size
    network.enable_parallelism(
        config=ContextParallelConfig(ulysses_degree=degree, mesh=mesh["ring", "ulysses"])
    )
