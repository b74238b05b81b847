"""A vision-language model of the Qwen-VL family, randomly initialised, small enough for a test.

Its words are random, and the same for the same pictures: syllables, half of which end an answer.
Its tokenizer reads bytes, as those of the family do.
"""

import os
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

IMAGE, VIDEO, START, END = "<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"
TURN, OVER, NOTHING = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
SPECIAL = (IMAGE, VIDEO, START, END, TURN, OVER, NOTHING)
ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())
WORDS = [f"{start}{end}" for start in "bdfgklmnprst" for end in "aeiou"]
TOKENS = [*SPECIAL, *ALPHABET, *WORDS]

_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}"
    "{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def build(folder: Path, *, ends: bool = True, seed: int = 0) -> Path:
    """Write a Qwen2-VL of some 40,000 weights into a folder, as `save_pretrained` would.

    Args:
        folder: where.
        ends: False for a model that never ends an answer by itself.
        seed: of the weights.
    """
    library: Any = transformers  # much of it carries no annotations
    tokenizer = _tokenizer()
    ids = {token: number for number, token in enumerate(TOKENS)}
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 4096,
        "bos_token_id": None,
        "eos_token_id": ids[OVER],
        "rope_parameters": {
            "rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3],
        },
    }  # fmt: skip
    vision = {
        "depth": 1, "embed_dim": 32, "hidden_size": 32, "num_heads": 2, "patch_size": 14,
        "spatial_merge_size": 2, "temporal_patch_size": 2, "mlp_ratio": 2,
    }  # fmt: skip
    config = library.Qwen2VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=ids[IMAGE],
        video_token_id=ids[VIDEO],
        vision_start_token_id=ids[START],
        vision_end_token_id=ids[END],
        tie_word_embeddings=False,
    )
    torch.manual_seed(seed)
    model = library.Qwen2VLForConditionalGeneration(config).eval()
    with torch.no_grad():  # as initialised, pictures hardly move the words
        for weight in model.parameters():
            weight.mul_(4.0)
    ending = [ids[word] for word in WORDS[::2]] if ends else []
    model.generation_config.eos_token_id = [ids[OVER], *ending]
    model.generation_config.suppress_tokens = [ids[token] for token in (*SPECIAL, *ALPHABET)]
    model.generation_config.pad_token_id = ids[NOTHING]
    model.save_pretrained(folder)
    _processor(tokenizer).save_pretrained(folder)
    return folder


def _tokenizer() -> Any:
    vocabulary = {token: number for number, token in enumerate(TOKENS)}
    words = Tokenizer(models.BPE(vocabulary, [(word[0], word[1]) for word in WORDS]))
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    fast: Any = transformers.PreTrainedTokenizerFast
    return fast(
        tokenizer_object=words,
        pad_token=NOTHING,
        eos_token=OVER,
        additional_special_tokens=[IMAGE, VIDEO, START, END, TURN],
    )


def _processor(tokenizer: Any) -> Any:
    size = {"shortest_edge": 28 * 28, "longest_edge": 28 * 28 * 4}
    library: Any = transformers
    return library.Qwen2VLProcessor(
        image_processor=library.Qwen2VLImageProcessor(size=size),
        tokenizer=tokenizer,
        video_processor=library.Qwen2VLVideoProcessor(size=size),
        chat_template=_TEMPLATE,
    )


def offline() -> dict[str, str]:
    """The environment of a process that must not ask the hub for anything."""
    return os.environ | {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
