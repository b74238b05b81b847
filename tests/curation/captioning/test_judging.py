"""Which answers can stand as captions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.captioning.judging import judged
from curation.captioning.tags import holds_tag

CAPTION = (
    "A red fox trots along a snowy ridge at dusk, pauses to sniff the wind and looks back. Bare "
    "birches stand behind it. The camera follows from the left at eye level, slowly pulling out. "
    "The low sun gives long blue shadows."
)


@pytest.mark.parametrize(
    "text",
    [
        CAPTION,
        "A hand-painted sign reads \"I'm sorry, we can't open today\".",
        "ha ha ha ha ha, laughs the clown",
        "Waves break, again and again and again and again, on black rocks.",
        "一只红狐狸沿着雪脊小跑。",
    ],
)
def test_captions_stand(text: str) -> None:
    assert judged(text, complete=True) == (text, None)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("\u200b \n", "empty"),
        ("I'm sorry, but I can't assist with that request.", "refused"),
        ("I\u2019m unable to view images.", "refused"),
        ("Sorry, I cannot describe people.", "refused"),
        ("Unfortunately, I am not able to see the frames.", "refused"),
        ("As an AI language model, I do not watch videos.", "refused"),
        ("I apologize, the frames are dark.", "refused"),
        ("The man walks. " * 12, "repeated"),
        ("A street with a car and a car and a car and a car and a car and a car", "repeated"),
        ("狐狸在跑。" * 12, "repeated"),
        (CAPTION * 4, "repeated"),
        ("A caf\ufffd at night", "not_utf8"),
        ("A fox. < scene cut > A hare.", "reserved_tag"),
        ("word " * 100 + " ".join(f"{n} {n * n}" for n in range(2000)), "too_long"),
    ],
)
def test_others_do_not(text: str, reason: str) -> None:
    assert judged(text, complete=True) == (None, reason)


def test_unfinished_and_filtered() -> None:
    assert judged(CAPTION[:80], complete=False) == (None, "truncated")
    assert judged("", complete=True, refused=True) == (None, "refused")


@given(st.text(max_size=400), st.booleans())
def test_either_a_caption_or_a_reason(text: str, complete: bool) -> None:
    caption, reason = judged(text, complete=complete)
    assert (caption is None) != (reason is None)
    if caption is not None:
        assert caption.isprintable()
        assert not holds_tag(caption)
