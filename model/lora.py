"""Low-rank adapters on the network: added, stored and fused, in the files that Wan's users share.

Adapters are peft's through diffusers, stored under the keys of diffusers' pipelines, so that a file
written here loads with `WanImageToVideoPipeline.load_lora_weights`, and a file made for that loads
here. Fusing makes inference as fast as without an adapter, and rounds the weights: keep the file.
"""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diffusers.models.transformers.transformer_wan import WanTransformer3DModel

PREFIX = "transformer"
"""Of the keys, as in diffusers' pipelines."""

WEIGHTS = "pytorch_lora_weights.safetensors"


@dataclasses.dataclass(frozen=True, slots=True)
class LoraSettings:
    """Shape of an adapter.

    Attributes:
        rank: of the update of each weight.
        alpha: the update is scaled by alpha / rank.
        targets: endings of the names of the linear layers that get one; by default all of attention
            and feed-forward.
        dropout: on the adapter's input, in training.
    """

    rank: int = 32
    alpha: int = 32
    targets: tuple[str, ...] = ("to_q", "to_k", "to_v", "to_out.0", "ffn.net.0.proj", "ffn.net.2")
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"rank={self.rank}: must be at least 1")
        if self.alpha <= 0:
            raise ValueError(f"alpha={self.alpha}: must be positive, or the adapter does nothing")
        if not self.targets:
            raise ValueError("targets is empty: name at least one layer, e.g. 'to_q'")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout={self.dropout}: must be in [0, 1)")


def add_lora(
    network: "WanTransformer3DModel", settings: LoraSettings, name: str = "default"
) -> list[str]:
    """Add a trainable adapter that changes nothing yet, and freeze all else.

    Returns:
        The names of the parameters to train.
    """
    from peft import LoraConfig

    network.requires_grad_(False)
    network.add_adapter(
        LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha,
            target_modules=list(settings.targets),
            lora_dropout=settings.dropout,
        ),
        adapter_name=name,
    )
    return [key for key, parameter in network.named_parameters() if parameter.requires_grad]


def save_lora(network: "WanTransformer3DModel", folder: Path, name: str = "default") -> Path:
    """Store an adapter, with its rank and alpha, as `WEIGHTS` in a folder.

    Raises:
        ValueError: the network has no adapter of that name.
    """
    from diffusers.loaders.lora_pipeline import WanLoraLoaderMixin
    from peft.utils import get_peft_model_state_dict

    adapters = getattr(network, "peft_config", {})
    if name not in adapters:
        raise ValueError(f"no adapter {name!r}: the network has {sorted(adapters) or 'none'}")
    WanLoraLoaderMixin.save_lora_weights(
        str(folder),
        transformer_lora_layers=get_peft_model_state_dict(network, adapter_name=name),
        weight_name=WEIGHTS,
        transformer_lora_adapter_metadata=adapters[name].to_dict(),
    )
    return folder / WEIGHTS


def load_lora(
    network: "WanTransformer3DModel",
    file: Path,
    *,
    weight: float = 1.0,
    fuse: bool = False,
    name: str = "default",
) -> None:
    """Put a stored adapter on a network.

    Args:
        network: the one it was made for, or one of the same size.
        file: a safetensors file of this module or of a diffusers pipeline.
        weight: how strongly it acts; 1 is as trained.
        fuse: add it into the weights and drop it, for inference.
        name: to tell several adapters apart.

    Raises:
        ValueError: no such file, not safetensors, or no key in it belongs to the network.
    """
    if file.suffix != ".safetensors" or not file.is_file():
        raise ValueError(f"{file} is no safetensors file: name the file that holds the adapter")
    network.load_lora_adapter(
        str(file.parent), prefix=PREFIX, weight_name=file.name, adapter_name=name
    )
    if name not in getattr(network, "peft_config", {}):
        raise ValueError(f"{file} holds no adapter for this network: no key begins {PREFIX!r}")
    network.set_adapters([name], weights=[weight])
    if fuse:
        # The type-ignores: diffusers leaves these two without annotations.
        network.fuse_lora(adapter_names=[name])
        network.unload_lora()
