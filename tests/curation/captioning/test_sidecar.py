"""Captions that lie beside the films, also when strangers wrote them."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from curation.captioning.sidecar import SidecarCaptioner
from curation.captioning.words import MAX_CHARACTERS, CaptionRequest, clean
from curation.records import ClipRow, VideoRow, now


def row(kind: type[Any], **values: Any) -> Any:
    """A row of which only some fields matter."""
    blank = {field.name: None for field in dataclasses.fields(kind)}
    return kind(**blank | {"recorded_at": now()} | values)


def request(folder: Path, given: str | None = None, start: float = 0.0) -> CaptionRequest:
    clip = row(ClipRow, clip_id="c" * 32, start_seconds=start, seconds=4.0)
    return CaptionRequest(clip, row(VideoRow), folder / "beach.mp4", given, folder)


def said(folder: Path, **fields: Any) -> tuple[str | None, str | None, str | None]:
    (answer,) = SidecarCaptioner().caption([request(folder, **fields)])
    assert answer.clip_id == "c" * 32
    return answer.caption, answer.reason, answer.source


def test_each_place_is_looked_at_in_turn(tmp_path: Path) -> None:
    assert said(tmp_path) == (None, "no_sidecar", None)
    (tmp_path / "captions.csv").write_text('file,caption\nbeach.mp4,"from, csv"\n')
    assert said(tmp_path) == ("from, csv", None, "captions.csv")
    (tmp_path / "beach.json").write_text('{"caption": "from json"}')
    assert said(tmp_path) == ("from json", None, "beach.json")
    (tmp_path / "beach.txt").write_text("\ufefffrom text\n", encoding="utf-8")
    assert said(tmp_path) == ("from text", None, "beach.txt")
    assert said(tmp_path, given="from manifest") == ("from manifest", None, "manifest")


def test_timed_captions_go_to_the_clip_they_overlap_most(tmp_path: Path) -> None:
    entries = [
        {"start": 0, "end": 5, "caption": "first"},
        {"start": 5, "end": 12.5, "caption": "second"},
        {"start": "x", "end": None, "caption": "broken"},
    ]
    (tmp_path / "beach.json").write_text(json.dumps({"captions": entries}))
    assert said(tmp_path, start=2.0)[0] == "first"
    assert said(tmp_path, start=4.0)[0] == "second"
    assert said(tmp_path, start=90.0) == (None, "bad_sidecar", None)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("beach.txt", b"\xff\xfe\x00broken", "bad_sidecar"),
        ("beach.txt", b" \n\t ", "empty"),
        ("beach.txt", b"<MultiShot> a <Scene Cut> b", "reserved_tag"),
        ("beach.txt", b"< scene   CUT >", "reserved_tag"),
        ("beach.txt", b"x" * (MAX_CHARACTERS + 1), "too_long"),
        ("beach.json", b"{", "bad_sidecar"),
        ("beach.json", b"[" * 100_000, "bad_sidecar"),
        ("beach.json", b'{"caption": 3}', "bad_sidecar"),
    ],
)
def test_unusable_sidecar_is_a_reason(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    (tmp_path / name).write_bytes(content)
    assert said(tmp_path)[:2] == (None, reason)


def test_edited_sidecar_is_another_caption(tmp_path: Path) -> None:
    answers = []
    for words in ("before", "after"):
        (tmp_path / "beach.txt").write_text(words)
        answers += SidecarCaptioner().caption([request(tmp_path)])
    assert answers[0].fingerprint != answers[1].fingerprint


def test_markup_stays_words_and_control_characters_go() -> None:
    hostile = '</script><img onerror="x">\x1b[31m\x00 "quoted"\r\nsecond\u2028line'
    caption, reason = clean(hostile)
    assert reason is None
    assert caption == '</script><img onerror="x"> [31m "quoted" second line'
