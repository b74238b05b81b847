"""Prompt encoders: UMT5 against the stock pipeline, the byte encoder's promises, the store."""

from pathlib import Path

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, WanImageToVideoPipeline
from hypothesis import given, settings
from hypothesis import strategies as st

from model.errors import PromptCacheError
from model.prompt_cache import CachedTextEncoder
from model.text import ByteEncoder, Umt5Encoder, clean_prompt
from tests.model.tiny_wan import tiny_vae, tokenizer, umt5

PROMPTS = ["a red ball", "", "the  red ball\n rolls &amp;amp; down the hill", "unheard words"]


@pytest.fixture(scope="module")
def encoder() -> Umt5Encoder:
    return Umt5Encoder(tokenizer(), umt5(), length=16)


# -- UMT5 -------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [3, 16])
def test_umt5_is_the_stock_pipelines(length: int) -> None:
    pipeline = WanImageToVideoPipeline(
        tokenizer=tokenizer(),
        text_encoder=umt5(),
        vae=tiny_vae(),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )
    with torch.no_grad():
        theirs = pipeline._get_t5_prompt_embeds(PROMPTS, max_sequence_length=length)
    ours = Umt5Encoder(tokenizer(), umt5(), length=length).encode(PROMPTS)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_umt5_is_zero_after_the_prompts_own_tokens(encoder: Umt5Encoder) -> None:
    embedded = encoder.encode(["a red ball", ""])
    assert embedded.shape == (2, encoder.length, encoder.width) == (2, 16, 32)
    used = embedded.ne(0).any(dim=2)
    assert used.sum(dim=1).tolist() == [4, 1]  # with the end token
    assert used[0, :4].all()


def test_prompts_are_cleaned_as_wan_does() -> None:
    assert clean_prompt(" a\n\t red &amp;amp; blue  ball ") == "a red & blue ball"
    assert clean_prompt("schÃ¶n") == "schön"


def test_umt5_loads_from_a_folder(encoder: Umt5Encoder, tmp_path: Path) -> None:
    encoder.tokenizer.save_pretrained(tmp_path / "tokenizer")
    encoder.model.save_pretrained(tmp_path / "text_encoder")
    loaded = Umt5Encoder.load(tmp_path, length=16, dtype=torch.float32)
    torch.testing.assert_close(loaded.encode(PROMPTS), encoder.encode(PROMPTS), rtol=0, atol=0)
    assert loaded.fingerprint == encoder.fingerprint
    others = (Umt5Encoder(tokenizer(), umt5(1), length=16), Umt5Encoder(tokenizer(), umt5()))
    assert len({encoder.fingerprint, *(other.fingerprint for other in others)}) == 3


# -- bytes ------------------------------------------------------------------------------------


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=80), min_size=1, max_size=4)
)
@settings(max_examples=50, deadline=None)
def test_bytes_embed_any_text_each_by_itself(texts: list[str]) -> None:
    encoder = ByteEncoder(width=32, length=8)
    together = encoder.encode(texts)
    assert together.shape == (len(texts), 8, 32)
    for text, embedded in zip(texts, together, strict=True):
        torch.testing.assert_close(encoder.encode([text])[0], embedded, rtol=0, atol=0)
        used = embedded.ne(0).any(dim=1)
        words = sum(-(-len(word.encode()) // 16) for word in clean_prompt(text).split())
        assert used.tolist() == [k < min(words + 1, 8) for k in range(8)]


def test_bytes_tell_prompts_apart_and_know_the_order_of_words() -> None:
    encoder = ByteEncoder()
    a, b, c, empty = encoder.encode(
        ["a dog sees a cat", "a cat sees a dog", "a dog sees a cow", ""]
    )
    assert not torch.equal(a.sum(0), c.sum(0))
    ordered = [tokens[tokens[:, 0].argsort()] for tokens in (a, b)]
    assert not torch.allclose(*ordered)  # as sets, for attention reads tokens without order
    assert empty.any()


def test_like_words_are_alike() -> None:
    walks, walked, bright = ByteEncoder().encode(["walks", "walked", "bright"])[:, 0]
    assert torch.cosine_similarity(walks, walked, dim=0) > 0.5
    assert torch.cosine_similarity(walks, bright, dim=0) < 0.5


def test_the_fixed_signs_are_splitmix64s() -> None:
    published = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F, 0xF88BB8A8724C81EC]
    expected = [1.0 if value >> 63 else -1.0 for value in published]
    assert ByteEncoder(width=4, length=1)._bytes[0, 0].tolist() == expected


def test_sizes_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="width=0, length=64"):
        ByteEncoder(width=0)


# -- kept on disk -----------------------------------------------------------------------------


class Counting:
    """An encoder that counts what it is asked."""

    def __init__(self, inner: ByteEncoder) -> None:
        self.inner, self.asked = inner, list[str]()
        self.length, self.width, self.fingerprint = inner.length, inner.width, inner.fingerprint

    def encode(self, texts: list[str]) -> torch.Tensor:
        self.asked += texts
        return self.inner.encode(texts)


def test_each_prompt_is_encoded_once_and_comes_back_the_same(tmp_path: Path) -> None:
    counting = Counting(ByteEncoder(length=8))
    for _ in range(2):
        embedded = CachedTextEncoder(counting, tmp_path).encode(["a", "", "a", "b c"])
        torch.testing.assert_close(embedded, counting.inner.encode(["a", "", "a", "b c"]))
    assert counting.asked == ["a", "", "b c"]
    assert not list(tmp_path.rglob("*.part"))


def test_umt5_comes_back_the_same_in_bfloat16(tmp_path: Path) -> None:
    encoder = Umt5Encoder(tokenizer(), umt5().to(torch.bfloat16), length=16)
    cached = CachedTextEncoder(encoder, tmp_path)
    for _ in range(2):
        torch.testing.assert_close(
            cached.encode(PROMPTS), encoder.encode(PROMPTS), rtol=1e-2, atol=1e-2
        )
    assert cached.encode(PROMPTS).dtype == torch.bfloat16


def test_another_encoder_finds_nothing_of_the_first(tmp_path: Path) -> None:
    first, second = (Counting(ByteEncoder(length=length)) for length in (8, 9))
    CachedTextEncoder(first, tmp_path).encode(["a"])
    CachedTextEncoder(second, tmp_path).encode(["a"])
    assert first.asked == second.asked == ["a"]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    cached = CachedTextEncoder(ByteEncoder(), tmp_path)
    cached.encode(["a"])
    cached.path("a").write_bytes(cached.path("a").read_bytes()[:20])
    with pytest.raises(PromptCacheError, match="delete it"):
        cached.encode(["a"])
