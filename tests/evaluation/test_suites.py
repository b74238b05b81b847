import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from evaluation.suites import COLUMNS, read_suite, write_suite
from tests.conftest import REPOSITORY

GOOD = {"id": "ball", "prompt": "a red ball, rolling", "licence": "CC0-1.0", "image": "ball.png"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.new("RGB", (40, 30), (200, 40, 20)).save(tmp_path / "ball.png")
    return tmp_path


def manifest(folder: Path, *rows: dict[str, Any] | str, name: str = "suite.jsonl") -> Path:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_both_forms_say_the_same(folder: Path) -> None:
    written = manifest(
        folder, GOOD | {"dimensions": ["dynamic_degree", "imaging_quality"]},
        {"id": "words", "prompt": "nur Wörter", "licence": "own"},
    )  # fmt: skip
    table = manifest(
        folder,
        ",".join(COLUMNS),
        'ball,"a red ball, rolling",ball.png,CC0-1.0,dynamic_degree; imaging_quality',
        "words,nur Wörter,,own,",
        name="suite.csv",
    )
    suite = read_suite(written)
    assert read_suite(table) == suite
    ball, words = suite.prompts
    assert ball.image == folder / "ball.png"
    assert words.image is None
    assert ball.dimensions == ("dynamic_degree", "imaging_quality")
    assert words.dimensions == ()


def test_what_is_written_is_read_and_pictures_may_move(folder: Path, tmp_path: Path) -> None:
    suite = read_suite(manifest(folder, GOOD, {"id": "b", "prompt": "words", "licence": "own"}))
    write_suite(folder / "again" / "suite.jsonl", suite.prompts)
    again = read_suite(folder / "again" / "suite.jsonl")
    assert again == suite
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    (folder / "ball.png").rename(moved / "ball.png")
    same = read_suite(manifest(moved, GOOD, {"id": "b", "prompt": "words", "licence": "own"}))
    assert same.sha256 == suite.sha256
    Image.new("RGB", (40, 30), (20, 40, 200)).save(moved / "ball.png")
    other = read_suite(manifest(moved, GOOD, {"id": "b", "prompt": "words", "licence": "own"}))
    assert other.sha256 != suite.sha256


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["{"], "row 1: not JSON"),
        (["[" * 100_000], "row 1: not JSON"),
        (["[1]"], "write an object"),
        (['{"id": "a", "id": "b", "prompt": "p", "licence": "l"}'], "a key stands there twice"),
        ([GOOD, "", GOOD], "row 3: the id 'ball' stands there twice"),
        ([{"prompt": "p", "licence": "l"}], "row 1: missing id; the fields"),
        ([GOOD | {"seed": 3}], "row 1: unknown 'seed'; the fields"),
        ([{"id": "a", "seed": 3}], "missing prompt, missing licence, unknown 'seed'"),
        ([GOOD | {"id": "../../etc/passwd"}], "letters, digits"),
        ([GOOD | {"id": "a/b"}], "letters, digits"),
        ([GOOD | {"id": ".hidden"}], "letters, digits"),
        ([GOOD | {"id": 7}], "id must be text"),
        ([GOOD | {"prompt": " \n"}], "prompt must be text"),
        ([GOOD | {"prompt": "x" * 5001}], "prompt must be text"),
        ([GOOD | {"prompt": "a\0b"}], "not text"),
        ([GOOD | {"prompt": "\ud800"}], "not text"),
        ([GOOD | {"image": "nowhere.png"}], "there is no picture"),
        ([GOOD | {"image": "."}], "there is no picture"),
        ([GOOD | {"image": "suite.jsonl"}], "cannot be read"),
        ([GOOD | {"image": "short.png"}], "cannot be read"),
        ([GOOD | {"dimensions": "all"}], "write a list"),
        ([], "has no prompt"),
    ],
)
def test_hostile_manifests(folder: Path, rows: list[Any], message: str) -> None:
    whole = (folder / "ball.png").read_bytes()
    (folder / "short.png").write_bytes(whole[:70])
    with pytest.raises(ValueError, match=message):
        read_suite(manifest(folder, *rows))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,prompt,licence\na,b,c,d\n", "more cells than headings"),
        ('id,prompt,licence\na,"b,c\n', "not CSV"),
        ("id,prompt\na,b\n", "missing licence"),
    ],
)
def test_hostile_tables(folder: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_suite(manifest(folder, text, name="suite.csv"))


def test_files_that_are_no_manifest(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"\.jsonl or \.csv"):
        read_suite(folder / "ball.png")
    with pytest.raises(ValueError, match="no such file"):
        read_suite(folder / "nowhere.csv")
    (folder / "latin.csv").write_bytes(b"id,prompt,licence\na,caf\xe9,l\n")
    with pytest.raises(ValueError, match="cannot be read"):
        read_suite(folder / "latin.csv")


def test_the_examples_of_the_documentation(folder: Path) -> None:
    text = (REPOSITORY / "docs" / "evaluation.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"```\n(id,prompt,.*?)```", text, re.DOTALL)
    (line,) = re.findall(r'^\{"id": "crowd".*\}$', text, re.MULTILINE)
    Image.new("RGB", (40, 30)).save(folder / "lighthouse.jpg")
    (folder / "prompts.csv").write_text(table)
    (folder / "prompts.jsonl").write_text(line)
    lighthouse, crowd = read_suite(folder / "prompts.csv").prompts
    assert lighthouse.text == "A lighthouse at dusk, waves below"
    assert lighthouse.image == folder / "lighthouse.jpg"
    assert read_suite(folder / "prompts.jsonl").prompts == (crowd,)
