"""Prompts to embeddings: one protocol, Wan's UMT5 and a tiny encoder that needs no weights.

Embeddings are `[B,L,D]`, zero after the prompt's own tokens; the network reads all L of them, and
no mask goes along, as in Wan. Which encoder it is, is the recipe's choice: a network trained on one
cannot be prompted through another, and none stands in for another. UMT5-xxl is 11 GB, so its
embeddings can be kept on disk.
"""

import hashlib
import html
import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

import ftfy
import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from model.errors import PromptCacheError
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


class CachedTextEncoder:
    """An encoder whose embeddings are kept on disk, each once.

    A file holds one prompt's own tokens, its padding left out, under a name made of the encoder's
    fingerprint and the text. It is written under another name and then renamed, so that several
    processes can share a folder.

    Args:
        encoder: makes what is not there yet; a small proxy may stand in while everything is there.
        folder: where the files are; made if needed.
    """

    def __init__(self, encoder: TextEncoder, folder: Path) -> None:
        self.encoder = encoder
        self.folder = folder

    @property
    def length(self) -> int:
        """See `TextEncoder.length`."""
        return self.encoder.length

    @property
    def width(self) -> int:
        """See `TextEncoder.width`."""
        return self.encoder.width

    @property
    def fingerprint(self) -> str:
        """That of the encoder: where an embedding was kept does not change it."""
        return self.encoder.fingerprint

    def path(self, text: str) -> Path:
        """Where the embedding of a prompt is kept."""
        key = hashlib.sha256(f"{self.fingerprint}\0{text}".encode()).hexdigest()[:32]
        return self.folder / key[:2] / f"{key}.safetensors"

    def encode(self, texts: list[str]) -> Tensor:
        """See `TextEncoder.encode`; on the CPU.

        Raises:
            PromptCacheError: a file is damaged, or of another encoder.
        """
        missing = [text for text in dict.fromkeys(texts) if not self.path(text).is_file()]
        if missing:
            for text, embedded in zip(missing, self.encoder.encode(missing), strict=True):
                self._write(text, embedded.cpu())
        return torch.stack([self._read(text) for text in texts])

    def _write(self, text: str, embedded: Tensor) -> None:
        used = embedded.ne(0).any(dim=1).nonzero()
        own = int(used.max()) + 1 if len(used) else 0
        path = self.path(text)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}.part")
        described = {"encoder": self.fingerprint, "text": text}
        save_file({"tokens": embedded[:own].contiguous()}, unfinished, metadata=described)
        unfinished.replace(path)

    def _read(self, text: str) -> Tensor:
        path = self.path(text)
        try:
            with safe_open(path, framework="pt") as file:
                tokens: Tensor = file.get_tensor("tokens")
        except (SafetensorError, OSError) as error:
            raise PromptCacheError(f"{path} cannot be read ({error}); delete it") from error
        if tokens.ndim != 2 or len(tokens) > self.length or tokens.shape[1] != self.width:
            raise PromptCacheError(
                f"{path} holds {tuple(tokens.shape)}, not up to {self.length} x {self.width}: "
                "delete it"
            )
        embedded = tokens.new_zeros(self.length, self.width)
        embedded[: len(tokens)] = tokens
        return embedded
