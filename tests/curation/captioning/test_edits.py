"""Captions that a person edited, going out and coming back."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curation.captioning.edits import Edit, edited_fingerprint, read_edits, write_table
from curation.captioning.words import clean

ONE, TWO, THREE = ("1" * 32, "2" * 32, "3" * 32)
# A file is written for each example, into the one folder.
one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)


@one_folder
@given(
    st.lists(
        st.text(max_size=60) | st.sampled_from(["=1+1", "'=x", "''-y", "@z", 'a "b", c', "-"]),
        min_size=1,
        max_size=5,
    )
)
def test_what_goes_out_comes_back(tmp_path: Path, texts: list[str]) -> None:
    captions = {f"{n:032x}": words for n, text in enumerate(texts) if (words := clean(text)[0])}
    path = tmp_path / "edits.csv"
    rows = [{"clip_id": one, "caption": words} for one, words in captions.items()]
    assert write_table(path, ("clip_id", "caption"), rows) == len(captions)
    edits, refused = read_edits(path)
    assert refused == []
    assert {edit.clip_id: edit.caption for edit in edits} == captions


def test_no_cell_is_a_formula(tmp_path: Path) -> None:
    path = tmp_path / "edits.csv"
    hostile = ['=HYPERLINK("http://x")', "+1", "-1", "@SUM(A1)", "'=1"]
    write_table(path, ("clip_id", "caption"), [{"clip_id": ONE, "caption": h} for h in hostile])
    cells = [line.partition(",")[2].strip('"') for line in path.read_text().splitlines()[1:]]
    assert all(cell.startswith("'") for cell in cells)


def test_bad_rows_are_listed_and_cost_no_good_one(tmp_path: Path) -> None:
    path = tmp_path / "edits.csv"
    path.write_bytes(
        b"\xef\xbb\xbfclip_id,caption,editor,other\r\n"
        + f'{ONE},"first, in\r\ntwo lines",Ada,x\r\n'.encode()  # lines 2-3
        + f"{ONE},again,Ada,x\r\n"  # 4
        "nonsense,words,,\r\n"  # 5
        f"{TWO},   ,,\r\n"  # 6
        f"{TWO},a <Scene Cut> b,,\r\n".encode()  # 7
        + TWO.encode() + b",caf\xe9,,\r\n"  # 8
        + f"{TWO}\r\n"  # 9
        "\r\n"
        f'{TWO},"never "closed,,\r\n'  # 11
        f"{TWO},second\r\n".encode()  # 12
        + f'{THREE},"open to the end\r\n'.encode()  # 13
    )  # fmt: skip
    edits, refused = read_edits(path)
    assert edits == [
        Edit("2-3", ONE, "first, in two lines", "Ada"),
        Edit("12", TWO, "second", None),
    ]
    assert [row.lines for row in refused] == ["4", "5", "6", "7", "8", "9", "11", "13"]
    assert "on line 2-3 already" in refused[0].why
    assert [row.why.rpartition(" ")[2] for row in refused[2:4]] == ["empty", "reserved_tag"]
    assert "UTF-8" in refused[4].why


def test_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "edits.jsonl"
    lines = [
        json.dumps({"clip_id": ONE, "caption": "a fox", "editor": "Ada\n"}),
        "",
        '{"clip_id": "' + TWO,
        json.dumps([1]),
        json.dumps({"clip_id": TWO, "caption": 3}),
        json.dumps({"clip_id": TWO, "caption": "a hare", "editor": 5}),
        f'{{"clip_id": "{THREE}", "caption": "half \\ud83e"}}',
        json.dumps({"clip_id": TWO, "caption": "=a hare"}),
    ]
    path.write_text("\n".join(lines))
    edits, refused = read_edits(path)
    assert edits == [Edit("1", ONE, "a fox", "Ada"), Edit("8", TWO, "=a hare", None)]
    assert [row.lines for row in refused] == ["3", "4", "5", "6", "7"]


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("edits.csv", "clip,words\n", "column"),
        ("edits.csv", "", "column"),
        ("edits.xlsx", "", "csv or .jsonl"),
        ("gone.csv", None, "cannot be read"),
    ],
)
def test_file_that_is_none(tmp_path: Path, name: str, content: str | None, what: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=what):
        read_edits(tmp_path / name)


def test_coming_back_to_old_words_is_a_new_caption() -> None:
    first = edited_fingerprint("a", None)
    second = edited_fingerprint("b", first)
    third = edited_fingerprint("a", second)
    assert len({first, second, third}) == 3
