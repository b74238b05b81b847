"""From a checkpoint to a folder that generates: the averaged weights in diffusers' layout.

Parameters are put together one by one from the checkpoint's fragments, so nothing of a run, and no
GPU, is needed; the whole network stands once in main memory, in the type that is asked for.
"""

import dataclasses
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from model.generator_folder import DESCRIPTION, GeneratorSpec, save_generator
from model.lora import add_lora, save_lora
from training.checkpoint import StoredState
from training.checkpoint_record import GENERATOR
from training.config import TrainConfig
from training.network import AveragedWeights, source_of

if TYPE_CHECKING:
    from model.dit import MultiMaskDiT

LORA = "lora"


def export_generator(
    stored: StoredState, config: TrainConfig, to: Path, *, dtype: torch.dtype = torch.float32
) -> None:
    """Write the averaged weights of a checkpoint as a generator.

    Of a run that trained adapters, these are stored in `to/lora`, in the form that diffusers'
    pipelines load, and fused into the network.

    Args:
        stored: the checkpoint.
        config: of its run.
        to: folder, made if needed.
        dtype: of the weights; upstream's float32 islands stay so.

    Raises:
        CheckpointError: the weights that adapters belong to are not where they were.
    """
    to.mkdir(parents=True, exist_ok=True)
    network = averaged_network(stored, config)
    if config.network.lora is not None:
        save_lora(network, to / LORA)
        network.fuse_lora()  # type: ignore[no-untyped-call]  # diffusers' own have no annotations
        network.unload_lora()  # type: ignore[no-untyped-call]  # as above
    if dtype != torch.float32:
        kept = network._keep_in_fp32_modules or []
        for name, parameter in network.named_parameters():
            if not any(island in name.split(".") for island in kept):
                parameter.data = parameter.data.to(dtype)
    save_generator(to, network, _spec(stored, config))
    for path in to.rglob("*"):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _spec(stored: StoredState, config: TrainConfig) -> GeneratorSpec:
    """What stands beside the network, to the byte what the checkpoint's own generator had.

    One that was written before `window_cap` was had none, and is mended by another without.
    """
    older = dataclasses.replace(config.generator, window_cap=None)
    described = hashlib.sha256(older.description().encode()).hexdigest()
    recorded = stored.record.generator.get(f"{GENERATOR}/{DESCRIPTION}")
    return older if recorded == described else config.generator


def averaged_network(stored: StoredState, config: TrainConfig) -> "MultiMaskDiT":
    """The network of a checkpoint with its averaged weights, float32 on the CPU.

    Raises:
        CheckpointError: the weights that adapters belong to are not where they were.
    """
    from model.dit import MultiMaskDiT
    from model.rope import TemporalRotaryPosEmbed

    size, lora = config.network.size, config.network.lora
    with torch.device("meta"):
        network = MultiMaskDiT.of(size)
    # Its tables are no weights, and would stay empty.
    network.rope = TemporalRotaryPosEmbed(
        size.attention_head_dim, size.patch_size, size.rope_max_seq_len
    )
    base = AveragedWeights(stored) if lora is None else source_of(config.network.init)
    assert base is not None
    weights = {name: base.read(name).float() for name in network.state_dict()}
    network.load_state_dict(weights, assign=True)
    if lora is not None:
        for name in add_lora(network, lora):
            with torch.no_grad():
                network.get_parameter(name).copy_(stored.whole(name, "ema"))
    return network.requires_grad_(False)
