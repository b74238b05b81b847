"""The multi-mask diffusion transformer (paper §3.2): Wan2.2's I2V network at real-valued times.

It IS diffusers' `WanTransformer3DModel`: the same parameters under the same names, so that released
Wan weights load here and checkpoints saved here open in stock diffusers. What it adds is one
argument, the temporal positions of the latent frames, by which a video's frame rate is told (§3.3).
Subclassing ties the network to a pinned diffusers; in return attention backends, context
parallelism, quantisation, LoRA and offloading are upstream's and stay so.
"""

import dataclasses
import json
from typing import Self

from diffusers.models.modeling_outputs import Transformer2DModelOutput
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from torch import Tensor

from model.presets import DiTConfig
from model.rope import TemporalRotaryPosEmbed


class MultiMaskDiT(WanTransformer3DModel):
    """Predicts the flow-matching velocity of noisy latents under masks and text.

    Released weights: `MultiMaskDiT.from_pretrained("Wan-AI/Wan2.2-I2V-A14B-Diffusers",
    subfolder="transformer")`; of a size of one's own: `MultiMaskDiT.of(presets.debug())`.

    In bfloat16, load with `from_pretrained(..., torch_dtype=torch.bfloat16)`: rotary tables, time
    embedding, modulation tables and norms then stay float32, as upstream has it; `.to(bfloat16)`
    casts those too.

    Context parallelism is diffusers' `enable_parallelism`: pass `return_dict=False`, a number of
    tokens that the ranks divide, and sum (not average) gradients over the ranks.
    """

    rope: TemporalRotaryPosEmbed

    # diffusers reads from this signature which keys of a checkpoint's config.json are arguments:
    # with bare **kwargs it would ignore them all. A test holds it against upstream's.
    def __init__(
        self,
        patch_size: tuple[int, int, int] = (1, 2, 2),
        num_attention_heads: int = 40,
        attention_head_dim: int = 128,
        in_channels: int = 16,
        out_channels: int = 16,
        text_dim: int = 4096,
        freq_dim: int = 256,
        ffn_dim: int = 13824,
        num_layers: int = 40,
        cross_attn_norm: bool = True,
        qk_norm: str | None = "rms_norm_across_heads",
        eps: float = 1e-6,
        image_dim: int | None = None,
        added_kv_proj_dim: int | None = None,
        rope_max_seq_len: int = 1024,
        pos_embed_seq_len: int | None = None,
    ) -> None:
        super().__init__(
            patch_size=patch_size,
            num_attention_heads=num_attention_heads,
            attention_head_dim=attention_head_dim,
            in_channels=in_channels,
            out_channels=out_channels,
            text_dim=text_dim,
            freq_dim=freq_dim,
            ffn_dim=ffn_dim,
            num_layers=num_layers,
            cross_attn_norm=cross_attn_norm,
            qk_norm=qk_norm,
            eps=eps,
            image_dim=image_dim,
            added_kv_proj_dim=added_kv_proj_dim,
            rope_max_seq_len=rope_max_seq_len,
            pos_embed_seq_len=pos_embed_seq_len,
        )
        # Here and not later: context parallelism and offloading hook the module that they find.
        self.rope = TemporalRotaryPosEmbed(attention_head_dim, patch_size, rope_max_seq_len)

    @classmethod
    def of(cls, config: DiTConfig) -> Self:
        """A network of this size with random weights, on the default device and type."""
        return cls(**dataclasses.asdict(config))

    def forward(
        self,
        hidden_states: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
        encoder_hidden_states_image: Tensor | None = None,
        return_dict: bool = True,
        attention_kwargs: dict[str, object] | None = None,
        temporal_positions: Tensor | None = None,
    ) -> Transformer2DModelOutput | tuple[Tensor, ...]:
        """Predict the velocity z_1 - z_0.

        Args:
            hidden_states: `[B, 36, T, h, w]`: noisy latents, mask channels, condition latents.
            timestep: `[B]`, 1000 · t for t of Eq. 3; real-valued.
            encoder_hidden_states: text `[B, L, D]`, zero-padded; attention over it is unmasked.
            encoder_hidden_states_image: CLIP tokens of Wan2.1's I2V; Wan2.2 has none.
            return_dict: False gives a tuple, which context parallelism needs.
            attention_kwargs: upstream's; `scale` is that of LoRA.
            temporal_positions: `[B, T]`, see `TemporalRotaryPosEmbed.forward`. None is bit-equal
                to the stock network.

        Returns:
            `[B, 16, T, h, w]`, as `.sample` or as the one entry of a tuple.

        Raises:
            ValueError: positions that do not fit the latents.
        """
        with self.rope.at(temporal_positions):
            output: Transformer2DModelOutput | tuple[Tensor, ...] = super().forward(
                hidden_states=hidden_states,
                timestep=timestep,
                encoder_hidden_states=encoder_hidden_states,
                encoder_hidden_states_image=encoder_hidden_states_image,
                return_dict=return_dict,
                attention_kwargs=attention_kwargs,
            )
        return output

    def to_json_string(self) -> str:
        """The config as `config.json` holds it, under upstream's class name.

        Stock `AutoModel` and pipelines look the class up in diffusers, where ours is unknown.
        """
        config = json.loads(super().to_json_string())
        config["_class_name"] = WanTransformer3DModel.__name__
        return json.dumps(config, indent=2, sort_keys=True) + "\n"
