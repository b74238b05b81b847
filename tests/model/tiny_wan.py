"""Tiny random parts of Wan's pipelines, for comparisons with stock diffusers."""

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"
WORDS = [PAD, END, UNKNOWN, "a", "red", "ball", "rolls", "&", "down", "the", "hill"]


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


def tokenizer() -> PreTrainedTokenizerFast:
    words = {word: number for number, word in enumerate(WORDS)}
    inner = Tokenizer(WordLevel(words, unk_token=UNKNOWN))
    inner.pre_tokenizer = Whitespace()
    inner.post_processor = TemplateProcessing(single=f"$A {END}", special_tokens=[(END, 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token=PAD, eos_token=END, unk_token=UNKNOWN
    )


def umt5(seed: int = 0) -> UMT5EncoderModel:
    torch.manual_seed(seed)
    config = UMT5Config(
        vocab_size=len(WORDS),
        d_model=32,
        d_kv=8,
        d_ff=37,
        num_layers=2,
        num_heads=4,
    )
    return UMT5EncoderModel(config).eval()
