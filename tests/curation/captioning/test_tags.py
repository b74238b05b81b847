"""The tags of multi-shot captions: what is joined can be split, and nothing forges a cut."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from curation.captioning import tags

FORGED = ["<Scene Cut>", "<MultiShot>", "< scene \u00a0cut >", "<MULTI SHOT>", "<scene\x00cut>"]
words = st.one_of(st.text(max_size=40), st.sampled_from([*FORGED, "<", ">", "Scene Cut", " "]))
captions = st.lists(words, min_size=1, max_size=6).map("".join)
clean_captions = captions.map(tags.clean).filter(bool)


@given(st.lists(clean_captions, min_size=1, max_size=6))
@example(["a", "b"])
@example(["<", "Scene Cut>"])
def test_joined_captions_can_be_split(said: list[str]) -> None:
    text = tags.join(said)
    assert tags.split(text) == said
    assert text.count("<Scene Cut>") == len(said) - 1
    assert text.count("<MultiShot>") == (len(said) > 1)


@given(captions)
@example("<<Scene Cut>>")
@example("<Scene <Scene Cut> Cut>")
def test_cleaning_leaves_no_tag_and_nothing_to_clean(text: str) -> None:
    once = tags.clean(text)
    assert not tags.holds_tag(once)
    assert tags.clean(once) == once
    assert once.isprintable()


def test_the_paper_s_form() -> None:
    assert tags.join(["a fox runs", "it rests"]) == "<MultiShot> a fox runs <Scene Cut> it rests"
    assert tags.join(["a fox runs"]) == "a fox runs"
    assert tags.clean("a fox <Scene Cut> rests") == "a fox (Scene Cut) rests"


@pytest.mark.parametrize("forged", [*FORGED, "", " ", "two\nlines", " padded"])
def test_what_is_not_clean_is_not_joined(forged: str) -> None:
    with pytest.raises(ValueError, match=r"captions\[1\]"):
        tags.join(["a", forged])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<MultiShot> ",
        "<MultiShot> alone",
        "<MultiShot> a <Scene Cut> ",
        "a <Scene Cut> b",
        "<MultiShot> a <Scene Cut>b",
        "<MultiShot> a <scene cut> b <Scene Cut> c",
        "<MultiShot> a <Scene Cut>  <Scene Cut> c",
    ],
)
def test_what_was_not_joined_is_not_split(text: str) -> None:
    with pytest.raises(ValueError, match="tags"):
        tags.split(text)
