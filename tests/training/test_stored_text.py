"""Which captions a version can show, by trying all windows; stored embeddings by their encoder."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.text import ByteEncoder, TextEncoder, Umt5Encoder
from tests.model.tiny_wan import tokenizer, umt5
from training.errors import SideShardError
from training.samples import Shot
from training.side_shards import SideRef, publish_set, write_shard
from training.stored_text import StoredText, caption_key, captions_of, embedded, text_head

CAPTIONS = ["", "a red ball", "<MultiShot> a red ball <Scene Cut> a hill", "down the hill " * 9]


def shots_of(lengths: list[int]) -> tuple[Shot, ...]:
    ends = np.cumsum(lengths).tolist()
    return tuple(
        Shot(end - length, end, f"shot {number}")
        for number, (length, end) in enumerate(zip(lengths, ends, strict=True))
    )


def tagged(numbers: list[int]) -> str:
    said = [f"shot {number}" for number in numbers]
    return said[0] if len(said) == 1 else "<MultiShot> " + " <Scene Cut> ".join(said)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=5))
@settings(max_examples=40, deadline=None)
def test_captions_are_those_of_all_windows(lengths: list[int]) -> None:
    """At every rate, from every start, of every length: frame by frame."""
    shots = shots_of(lengths)
    of_frame = [number for number, length in enumerate(lengths) for _ in range(length)]
    reachable = set()
    for stride in (1, 2, 3, 4, 6, 8, 12, 24):
        for start in range(len(of_frame)):
            shown: list[int] = []
            for number in of_frame[start::stride]:
                if number not in shown:
                    shown.append(number)
                reachable.add(tagged(shown))
    assert captions_of(shots) == reachable


def test_long_shots_make_runs_alone() -> None:
    assert len(captions_of(shots_of([24] * 8))) == 8 * 9 // 2
    assert captions_of(shots_of([24])) == {"shot 0"}
    assert "<MultiShot> shot 0 <Scene Cut> shot 2" in captions_of(shots_of([40, 5, 40]))


def stored(folder: Path, encoder: TextEncoder) -> StoredText:
    written = write_shard(folder, "000000", "plan", embedded(CAPTIONS, encoder), {})
    made = publish_set(folder, text_head("a" * 64, encoder), 1 << 20, [written], {})
    return StoredText.open(SideRef(made.ref.manifest, made.ref.sha256))


@pytest.mark.parametrize("kind", ["bytes", "umt5", "umt5 in bfloat16"])
def test_stored_embeddings_are_the_encoder_s(tmp_path: Path, kind: str) -> None:
    encoder: TextEncoder = ByteEncoder(width=16, length=5)
    if kind != "bytes":
        model = umt5()
        encoder = Umt5Encoder(tokenizer(), model.bfloat16() if "16" in kind else model, length=12)
    with stored(tmp_path, encoder) as text:
        assert (text.length, text.width) == (encoder.length, encoder.width)
        assert text.fingerprint == encoder.fingerprint
        found = text.encode([*CAPTIONS, CAPTIONS[1]])
        expected = torch.cat([encoder.encode([caption]) for caption in [*CAPTIONS, CAPTIONS[1]]])
        assert found.dtype == expected.dtype
        assert torch.equal(found, expected)


def test_padding_is_not_stored(tmp_path: Path) -> None:
    encoder = ByteEncoder(width=16, length=5)
    with stored(tmp_path, encoder) as text:
        tokens = text.shards.read(caption_key("a red ball"))["tokens"]
    assert tokens.shape == (4, 16), "three words and the end"


def test_a_caption_that_was_not_there_is_said(tmp_path: Path) -> None:
    with (
        stored(tmp_path, ByteEncoder(width=16, length=5)) as text,
        pytest.raises(SideShardError, match="no embedding of 'a green ball' was precomputed"),
    ):
        text.encode(["a red ball", "a green ball"])
