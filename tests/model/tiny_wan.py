"""Tiny random parts of Wan's pipelines, for comparisons with stock diffusers."""

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan


def tiny_vae(seed: int = 0) -> AutoencoderKLWan:
    """Wan's autoencoder with random weights: 4 x 8 x 8, 16 channels, a second to run."""
    torch.manual_seed(seed)
    return AutoencoderKLWan(
        base_dim=3,
        z_dim=16,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
    ).eval()
