"""The `tempo` command as a person types it."""

import contextlib
import dataclasses
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

from pipelines.cli import main
from tests.pipelines.tiny_library import SETTINGS, render


@dataclasses.dataclass(frozen=True)
class Ended:
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


def tempo(*arguments: str) -> Ended:
    """Run the command in this process, as its entry point would."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with (
        mock.patch.object(sys, "argv", ["tempo", *arguments]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return Ended(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the dataset tiny@1."""
    films = render(tmp_path_factory.mktemp("films"))
    home = tmp_path_factory.mktemp("home")
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    done = tempo(
        "curate", str(films), "--dataset", "tiny", "--home", str(home), "--json", *settings
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary["dataset"]["reference"] == "tiny@1"
    assert Path(summary["dataset"]["folder"]).is_dir()
    assert json.loads(Path(summary["report"]).read_text()) == summary
    return home


def test_datasets_and_preview(home: Path) -> None:
    listed = json.loads(tempo("datasets", "--home", str(home), "--json").stdout)
    assert [(row["name"], row["version"], row["samples"]) for row in listed["datasets"]] == [
        ("tiny", 1, 7)
    ]
    moved = tempo(
        "preview", "--dataset", "tiny@latest", "--home", str(home), "--json",
        "--set", "select.clarity.min=3999",
    )  # fmt: skip
    outcome = json.loads(moved.stdout)
    assert (outcome["kept_now"]["clips"], outcome["kept"]["clips"]) == (5, 0)
    assert outcome["dropped"]["clarity_low"]["clips"] == 5


def test_preview_refuses_what_it_cannot_foresee(home: Path) -> None:
    done = tempo("preview", "--dataset", "tiny", "--home", str(home), "--set", "scan.x=1")
    assert done.returncode == 1
    assert "only thresholds and set-level steps" in done.stderr


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_sql_in_every_form(home: Path, form: str) -> None:
    query = "select v.status, count(*) n from clips c join videos v using (video_id) group by 1"
    done = tempo("sql", query, "--home", str(home), "--format", form)
    assert done.returncode == 0, done.stderr
    if form == "json":
        assert json.loads(done.stdout) == [{"status": "ok", "n": 5}]
    else:
        assert done.stdout.split() in (["status", "n", "ok", "5"], ['"status","n"', '"ok",5'])


def test_sql_as_one_object(home: Path) -> None:
    query = "select count(*) n, max(recorded_at) as last from clips"
    (row,) = json.loads(tempo("sql", query, "--home", str(home), "--json").stdout)["rows"]
    assert row["n"] == 5
    assert row["last"].startswith("20")


def test_sql_shows_what_is_not_there_as_sql_does(home: Path) -> None:
    done = tempo("sql", "select null as nothing, 'None' as word", "--home", str(home))
    assert done.stdout.split() == ["nothing", "word", "NULL", "None"]


def test_sql_prints_wide_rows_whole(home: Path) -> None:
    query = ["sql", "select * from clips", "--home", str(home)]
    kept = json.loads(tempo(*query, "--format", "json").stdout)
    piped = tempo(*query).stdout
    assert len(piped.splitlines()) == 1 + len(kept)
    with mock.patch.dict(os.environ, {"FORCE_COLOR": "1", "COLUMNS": "60", "NO_COLOR": "1"}):
        shown = tempo(*query).stdout  # as on a terminal of 60 columns
    for row in kept:
        for name, value in row.items():
            text = "NULL" if value is None else str(value)
            assert text in piped
            assert re.search(rf"^{name} +{re.escape(text)}", shown, re.MULTILINE), name


@pytest.mark.parametrize(
    "query",
    [
        "select * from read_text('/etc/passwd')",
        "copy (select 1) to 'out.csv'",
        "attach 'x.db'",
        "set enable_external_access = true",
        "select 1; select 2",
        "select * from nowhere",
    ],
)
def test_sql_cannot_leave_the_catalog(home: Path, query: str) -> None:
    done = tempo("sql", query, "--home", str(home))
    assert done.returncode == 1
    assert done.stderr.startswith("error: sql:")
    assert "Traceback" not in done.stderr


def test_dry_run_makes_nothing(tmp_path: Path) -> None:
    films = render(tmp_path / "films")
    home = tmp_path / "home"
    done = tempo("curate", str(films), "--home", str(home), "--dry-run", "--json")
    assert json.loads(done.stdout) == {
        "files": 3, "unhashed_files": 3, "films_to_scan": 3, "models": [], "no_films": [],
    }  # fmt: skip
    assert not home.exists()


def test_dry_run_tells_apart_what_is_no_film(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("films/a.mp4\nfilms/ü.mp4\n")
    (tmp_path / "prose.mp4").write_text("é" * 5000)  # 4096 bytes end within a character
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "folder.mp4").mkdir()
    names = [str(file) for file in sorted(tmp_path.iterdir())]
    film = render(tmp_path / "films") / "first.mp4"
    done = tempo("curate", *names, str(film), "--home", str(tmp_path / "home"), "--dry-run")
    assert done.returncode == 0
    assert done.stdout.count("no film: ") == 4
    assert "films to scan" in done.stdout
    alone = tempo("curate", *names, "--home", str(tmp_path / "home"), "--dry-run", "--json")
    assert alone.returncode == 1
    plan = json.loads(alone.stdout)
    assert plan["films_to_scan"] == 0
    assert {Path(file["uri"]).name: file["why"].split()[:2] for file in plan["no_films"]} == {
        "empty.mp4": ["the", "file"],
        "folder.mp4": ["a", "folder"],
        "list.txt": ["a", "text;"],
        "prose.mp4": ["a", "text;"],
    }


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["curate", "nowhere/"], "no such file or folder"),
        (["curate", ".", "--recipe", "nothing"], "there are curate_offline"),
        (["curate", ".", "--set", "select.motoin.min=1"], "no field 'motoin'"),
        (["curate", ".", "--dataset", "../up"], "dataset name"),
        (["preview", "--dataset", "none"], "no catalog is kept there"),
        (["datasets"], "no catalog is kept there"),
        (["sql", "select 1"], "no catalog is kept there"),
        (["verify", "none"], "no catalog is kept there"),
        (["report", "none"], "no catalog is kept there"),
        (["forget", "0" * 32], "no catalog is kept there"),
        (["caption"], "no catalog is kept there"),
        (["train", "train_debug_cpu", "--dataset", "none"], "no catalog is kept there"),
        (["retrain", "retrain_debug_cpu", "--dataset", "none"], "no catalog is kept there"),
        (["export", "none", "--to", "generator"], "none"),
        (["replay", "none", "--step", "1"], "none"),
    ],
)
def test_mistakes_are_one_line_with_a_remedy(
    tmp_path: Path, arguments: list[str], words: str
) -> None:
    done = tempo(*arguments, "--home", str(tmp_path / "home"))
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "home").exists()


def test_preview_of_a_dataset_that_is_not_there(home: Path) -> None:
    done = tempo("preview", "--dataset", "none", "--home", str(home))
    assert done.returncode == 1
    assert "published: tiny@1" in done.stderr


def test_doctor_finds_what_is_there(tmp_path: Path) -> None:
    done = tempo("doctor", "--home", str(tmp_path / "home"), "--json")
    findings = {finding["name"]: finding["state"] for finding in json.loads(done.stdout)}
    assert done.returncode == 0
    assert findings["decoders"] == findings["encoders"] == findings["catalog"] == "ok"


@pytest.mark.parametrize("command", ["curate", "preview", "sql", "forget", "demo"])
def test_help_has_an_example(command: str) -> None:
    assert f"tempo {command}" in tempo(command, "--help").stdout.replace("\n", " ")


def test_module_is_the_command(home: Path) -> None:
    query = ["sql", "select 1 as one", "--format", "csv", "--home", str(home)]
    command = [sys.executable, "-m", "pipelines", *query]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, '"one"\n1\n')


def test_an_engine_that_there_is_not_is_refused(home: Path) -> None:
    done = tempo("verify", "tiny", "--home", str(home), "--engine", "spark")
    assert done.returncode == 1
    assert "engine='spark': write local, ray, or ray://HOST:PORT" in done.stderr
