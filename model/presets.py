"""The sizes of the network, as typed configs: Wan2.2's A14B, the 1.3B shape, and small ones.

A config here holds the arguments of `MultiMaskDiT` and nothing else, and this module imports no
torch, so that a plan or a dry run can count parameters and FLOPs in milliseconds. The price is that
the fields are written down here again; a test holds them against diffusers' signature.
"""

import dataclasses

PATCH_SIZE = (1, 2, 2)
"""Latent frames, rows and columns that make one token, in all Wan models."""


@dataclasses.dataclass(frozen=True, slots=True)
class DiTConfig:
    """Size of a multi-mask DiT; fields are named and mean as in diffusers' `config.json`.

    `in_channels` is 16 noisy + 4 mask + 16 condition latent channels.
    """

    num_attention_heads: int
    attention_head_dim: int
    ffn_dim: int
    num_layers: int
    text_dim: int
    freq_dim: int = 256
    in_channels: int = 36
    out_channels: int = 16
    patch_size: tuple[int, int, int] = PATCH_SIZE
    cross_attn_norm: bool = True
    qk_norm: str = "rms_norm_across_heads"
    eps: float = 1e-6
    rope_max_seq_len: int = 1024

    def __post_init__(self) -> None:
        counts = ("num_attention_heads", "ffn_dim", "num_layers", "text_dim", "in_channels")
        for name in (*counts, "out_channels", "rope_max_seq_len"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: must be at least 1")
        for name in ("attention_head_dim", "freq_dim"):
            if getattr(self, name) < 2 or getattr(self, name) % 2:
                raise ValueError(
                    f"{name}={getattr(self, name)}: must be even, for it holds pairs (cos, sin)"
                )
        if self.attention_head_dim < 6:
            raise ValueError(
                f"attention_head_dim={self.attention_head_dim}: must be at least 6, "
                "so that time, height and width each get a pair"
            )
        if self.patch_size[0] != 1 or min(self.patch_size) < 1:
            raise ValueError(
                f"patch_size={self.patch_size}: the first entry must be 1, "
                "for each latent frame has its own temporal position"
            )

    @property
    def width(self) -> int:
        """Channels of a token (`dim` in Wan's code)."""
        return self.num_attention_heads * self.attention_head_dim


def a14b() -> DiTConfig:
    """One expert of Wan2.2-I2V-A14B, the paper's base (§4.1): 14.3 billion parameters."""
    return DiTConfig(
        num_attention_heads=40,
        attention_head_dim=128,
        ffn_dim=13824,
        num_layers=40,
        text_dim=4096,
    )


def shape_1_3b() -> DiTConfig:
    """The 1.3B shape of Wan2.1, with the 36 input channels of I2V."""
    return DiTConfig(
        num_attention_heads=12,
        attention_head_dim=128,
        ffn_dim=8960,
        num_layers=30,
        text_dim=4096,
    )


def debug() -> DiTConfig:
    """Learns something visible on a laptop's processor: 4.3 million parameters."""
    return DiTConfig(
        num_attention_heads=4,
        attention_head_dim=48,
        ffn_dim=512,
        num_layers=8,
        text_dim=64,
        freq_dim=64,
    )


def tiny() -> DiTConfig:
    """For tests: heads split 8/4/4 over time, height and width, unevenly as Wan's 44/42/42."""
    return DiTConfig(
        num_attention_heads=2,
        attention_head_dim=16,
        ffn_dim=64,
        num_layers=2,
        text_dim=32,
        freq_dim=32,
    )
