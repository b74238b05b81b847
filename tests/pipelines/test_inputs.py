"""What films a job was given."""

import json
import os
import traceback
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.inputs import list_films, repeatable, stored_uri


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def test_folder_is_searched_below_and_hidden_files_are_left_out(tmp_path: Path) -> None:
    wanted = [touch(tmp_path / "a.mp4"), touch(tmp_path / "deep" / "er" / "b.MKV")]
    touch(tmp_path / "._a.mp4")
    touch(tmp_path / ".trash" / "c.mp4")
    touch(tmp_path / "notes.txt")
    assert [film.path for film in list_films([str(tmp_path)])] == sorted(wanted)


def test_folder_named_like_a_film_is_listed_and_not_searched(tmp_path: Path) -> None:
    folder = tmp_path / "x.mp4"
    touch(folder / "inner.mp4")
    assert [film.path for film in list_films([str(tmp_path)])] == [folder]


def test_glob_and_file_name_the_same_film_once(tmp_path: Path) -> None:
    film = touch(tmp_path / 'a b\'s "film".mp4')
    listed = list_films([str(tmp_path / "*.mp4"), str(film), str(tmp_path)])
    assert [entry.path for entry in listed] == [film]


def test_name_that_is_not_utf8_gets_a_printable_uri(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/\xff\xfe.mp4"
    with open(raw, "wb"):  # noqa: PTH123 - a bytes path
        pass
    (film,) = list_films([str(tmp_path)])
    assert film.uri.endswith("\\xff\\xfe.mp4")
    assert film.path.exists()


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_manifest_carries_captions_and_licences(tmp_path: Path, kind: str) -> None:
    caption = 'a "quoted", <b>odd</b>\ncaption'
    rows = [
        {"uri": "b.mp4", "caption": caption, "licence": "CC0-1.0"},
        {"uri": str(tmp_path / "a.mp4"), "caption": None, "licence": None},
    ]
    manifest = tmp_path / f"films.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), manifest)
    elif kind == "jsonl":
        manifest.write_text("\n".join(map(json.dumps, rows)))
    else:
        quoted = caption.replace('"', '""')
        manifest.write_text(f'uri,caption,licence\nb.mp4,"{quoted}",CC0-1.0\n{tmp_path}/a.mp4,,\n')
    first, second = list_films([str(manifest)])
    assert (first.path, first.caption, first.licence) == (tmp_path / "a.mp4", None, None)
    assert (second.path, second.caption, second.licence) == (
        tmp_path / "b.mp4",
        caption,
        "CC0-1.0",
    )


def test_what_a_manifest_says_wins_over_a_plain_listing(tmp_path: Path) -> None:
    touch(tmp_path / "a.mp4")
    manifest = tmp_path / "films.csv"
    manifest.write_text("uri,caption\na.mp4,words\n")
    for arguments in ([str(manifest), str(tmp_path)], [str(tmp_path), str(manifest)]):
        (film,) = list_films(arguments)
        assert film.caption == "words"


@pytest.mark.parametrize("arguments", [["nowhere.mp4"], ["none*.mp4"]])
def test_argument_that_names_nothing_is_an_error(arguments: list[str]) -> None:
    with pytest.raises(ValueError, match=r"none|nowhere"):
        list_films(arguments)


@pytest.mark.parametrize(
    "content", ["", "caption\nwords\n", "uri\n\n", '{"uri": 3}', "[1]", "{broken"]
)
def test_manifest_that_cannot_be_used_is_an_error(tmp_path: Path, content: str) -> None:
    manifest = tmp_path / ("films.jsonl" if content.startswith(("{", "[")) else "films.csv")
    manifest.write_text(content)
    with pytest.raises(ValueError, match="manifest"):
        list_films([str(manifest)])


@pytest.mark.parametrize(
    ("address", "stored"),
    [
        (
            "https://user:secret@host.example:8443/a/b.mp4?token=1#t",
            "https://host.example:8443/a/b.mp4",
        ),
        ("s3://bucket/key.mp4?versionId=7", "s3://bucket/key.mp4"),
        ("http://me:secret@[::1]:80/a.mp4", "http://[::1]:80/a.mp4"),
    ],
)
def test_credentials_and_queries_are_not_stored(tmp_path: Path, address: str, stored: str) -> None:
    assert stored_uri(address) == stored
    manifest = tmp_path / "films.csv"
    manifest.write_text(f"uri\n{address}\n")
    (film,) = list_films([str(manifest)])
    assert film.uri == stored


@pytest.mark.parametrize(
    "address", ["https://me:s3cret/2@host/a.mp4", "https://me:s3[cret@host/a.mp4"]
)
def test_a_password_is_not_shown_when_its_address_cannot_be_read(
    tmp_path: Path, address: str
) -> None:
    manifest = tmp_path / "films.csv"
    manifest.write_text(f"uri\na.mp4\n{address}\n")
    with pytest.raises(ValueError, match=r"row 2: uri: .* write '/' as %2F") as caught:
        list_films([str(manifest)])
    assert "s3" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("column", ["uri", "caption", "licence"])
@pytest.mark.parametrize(
    ("words", "wrong"), [("a \ud83d b", r"half a character, '\\ud83d'"), ("a \0 b", "a NUL")]
)
def test_what_no_table_can_hold_is_refused_with_its_row(
    tmp_path: Path, column: str, words: str, wrong: str
) -> None:
    manifest = tmp_path / "films.jsonl"
    rows = [{"uri": "a.mp4"}, {"uri": "b.mp4", column: words}]
    manifest.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(ValueError, match=rf"row 2: {column} holds {wrong} at position 2"):
        list_films([str(manifest)])


def test_a_manifest_in_json_can_name_a_file_whose_name_is_not_utf8(tmp_path: Path) -> None:
    manifest = tmp_path / "films.jsonl"
    manifest.write_text(json.dumps({"uri": os.fsdecode(b"\xff.mp4")}))
    (film,) = list_films([str(manifest)])
    assert film.path == tmp_path / os.fsdecode(b"\xff.mp4")
    assert film.uri.endswith("\\xff.mp4")


def test_what_is_named_in_a_store_can_be_named_again() -> None:
    named = ["s3://films/shot ?.mp4", "s3://films/take #1.mp4", "s3://films/**/*.mkv"]
    assert repeatable(named) == tuple(named)
