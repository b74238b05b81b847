"""Prompts to embeddings: one protocol, Wan's UMT5 and a tiny encoder that needs no weights.

Embeddings are `[B,L,D]`, zero after the prompt's own tokens; the network reads all L of them, and
no mask goes along, as in Wan. Which encoder it is, is the recipe's choice: a network trained on one
cannot be prompted through another, and none stands in for another. UMT5-xxl is 11 GB, so its
embeddings can be kept on disk (`model.prompt_cache`).
"""

import hashlib
import html
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

import ftfy
import numpy as np
import torch
from torch import Tensor, nn

from model.fingerprints import module_fingerprint

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, UMT5EncoderModel


class TextEncoder(Protocol):
    """Embeds prompts, always alike."""

    @property
    def length(self) -> int:
        """L: tokens of an embedding, padding included; longer prompts are cut."""
        ...

    @property
    def width(self) -> int:
        """D: channels of a token, the network's `text_dim`."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes with anything that changes embeddings; stored ones are kept under it."""
        ...

    def resident(self, texts: list[str], /) -> nn.Module | None:
        """The module that embeds these prompts where it stands; None where none is run for them."""
        ...

    def encode(self, texts: list[str]) -> Tensor:
        """Embed prompts: `[B,L,D]`, zero after each prompt's last token.

        Each embedding depends on its own text alone. The empty prompt is legal: guidance and
        dropped captions use it.
        """
        ...


def clean_prompt(text: str) -> str:
    """Mend Unicode, resolve HTML entities, collapse white space: as Wan's pipelines do."""
    text = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
    return re.sub(r"\s+", " ", text).strip()


class Umt5Encoder:
    """Wan's text encoder (UMT5-xxl), run by transformers.

    Args:
        tokenizer: of the model.
        model: the encoder, on its device and in its dtype.
        length: tokens that the network was trained to read; Wan: 512.
    """

    def __init__(
        self, tokenizer: "PreTrainedTokenizerBase", model: "UMT5EncoderModel", *, length: int = 512
    ) -> None:
        self.tokenizer = tokenizer
        self.model = model.requires_grad_(False).train(mode=False)
        self.length = length
        self.width = int(model.config.d_model)
        words = hashlib.sha256(repr(sorted(tokenizer.get_vocab().items())).encode()).hexdigest()
        self.fingerprint = f"umt5:{module_fingerprint(model, words, str(length))}"

    @classmethod
    def load(
        cls,
        source: str | Path,
        *,
        length: int = 512,
        dtype: torch.dtype = torch.bfloat16,
        device: torch.device | str = "cpu",
    ) -> Self:
        """Load from a folder with `tokenizer/` and `text_encoder/`, or its name on the hub.

        Args:
            source: folder or name, e.g. ``Wan-AI/Wan2.2-I2V-A14B-Diffusers``.
            length: see the class.
            dtype: of the computation and of the embeddings.
            device: where it runs.
        """
        from transformers import AutoTokenizer, UMT5EncoderModel

        tokenizer = AutoTokenizer.from_pretrained(str(source), subfolder="tokenizer")
        model = UMT5EncoderModel.from_pretrained(str(source), subfolder="text_encoder", dtype=dtype)
        # transformers wraps `to` in a way that type checkers cannot follow; this is what it calls.
        torch.nn.Module.to(model, device)
        return cls(tokenizer, model, length=length)

    def resident(self, _: list[str], /) -> nn.Module | None:
        """See `TextEncoder.resident`."""
        model: nn.Module = self.model
        return model

    @torch.no_grad()
    def encode(self, texts: list[str]) -> Tensor:
        """See `TextEncoder.encode`; in the model's dtype and on its device."""
        tokens = self.tokenizer(
            [clean_prompt(text) for text in texts],
            padding="max_length",
            max_length=self.length,
            truncation=True,
            add_special_tokens=True,
            return_attention_mask=True,
            return_tensors="pt",
        ).to(self.model.device)
        states: Tensor = self.model(tokens.input_ids, tokens.attention_mask).last_hidden_state
        # What stands in padded places is not zero by itself; a product would keep a NaN there.
        return states.masked_fill(tokens.attention_mask[..., None] == 0, 0.0)


class ByteEncoder:
    """A frozen encoder without weights: a token is a word, made of its bytes.

    Each byte at each place in a word has a fixed vector of signs, and a word is their sum; a
    smaller vector says which word of the prompt it is, for the network reads tokens as a set. So
    words that share bytes are alike, and prompts are told apart; meaning is the network's to learn.
    It reads nothing from disk and is the same on every machine. Words of more than 16 bytes make
    several tokens.

    Args:
        width: channels of a token.
        length: tokens, the end token included; short, for every one costs a small network.
    """

    _PIECE = 16
    _ORDER = 0.5  # of a word's own size: enough to tell places, too little to hide the word

    def __init__(self, *, width: int = 64, length: int = 64) -> None:
        if width < 1 or length < 1:
            raise ValueError(f"width={width}, length={length}: both must be 1 or more")
        self.width = width
        self.length = length
        self.fingerprint = f"bytes-1:{length}x{width}"
        bytes_at_places = self._PIECE * 256
        signs = torch.from_numpy(_signs((bytes_at_places + 1 + length) * width)).view(-1, width)
        self._bytes = signs[:bytes_at_places].view(self._PIECE, 256, width)
        self._end = signs[bytes_at_places]
        self._order = signs[bytes_at_places + 1 :] * self._ORDER

    def resident(self, _: list[str], /) -> nn.Module | None:
        """See `TextEncoder.resident`."""
        return None

    def encode(self, texts: list[str]) -> Tensor:
        """See `TextEncoder.encode`; float32 on the CPU."""
        embedded = torch.zeros(len(texts), self.length, self.width)
        for row, text in zip(embedded, texts, strict=True):
            words = [self._word(piece) for piece in self._pieces(clean_prompt(text))]
            tokens = torch.stack([*words[: self.length - 1], self._end])
            row[: len(tokens)] = tokens + self._order[: len(tokens)]
        return embedded

    def _pieces(self, text: str) -> list[bytes]:
        words = [word.encode() for word in text.split()]
        return [
            word[start : start + self._PIECE]
            for word in words
            for start in range(0, len(word), self._PIECE)
        ]

    def _word(self, piece: bytes) -> Tensor:
        places = torch.arange(len(piece))
        return self._bytes[places, torch.tensor(list(piece))].sum(0) / math.sqrt(len(piece))


def _signs(count: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Numbers +1 and -1 without pattern: the top bit of SplitMix64 at 1 … count.

    Source: Steele, Lea, Flood, Fast splittable pseudorandom number generators, OOPSLA 2014.
    """
    with np.errstate(over="ignore"):
        state = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state ^= state >> np.uint64(31)
    return np.where(state >> np.uint64(63), np.float32(1), np.float32(-1))
