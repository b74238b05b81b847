"""Captioning as a job: what is asked, stored, edited and packed, also after a kill."""

import csv
import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from curation.captioning.asking import AskConfig, question
from curation.captioning.local import find_weights
from curation.captioning.spool import Spool, spools
from curation.captioning.tags import split
from curation.captioning.words import Answer, CaptionRequest
from curation.catalog.store import Catalog
from curation.errors import CaptionError
from curation.records import CaptionRow, ClipRow, RunRow
from curation.traces import trace_folder
from pipelines.caption import caption_clips, export_captions, import_captions, recorded_config
from pipelines.curate import CurateRequest, curate
from pipelines.engine import LocalEngine, SerialEngine
from pipelines.forget import forget
from pipelines.inputs import list_films
from pipelines.job import Silence
from pipelines.recipes.curation import curation_recipe
from pipelines.settings import Home, with_overrides
from tests.conftest import REPOSITORY
from tests.curation.captioning.servers import (
    Proxy,
    Witness,
    completion,
    encoded,
    pictures_of,
    status,
)
from tests.curation.captioning.tiny_vlm import build
from tests.pipelines.test_cli import tempo
from tests.pipelines.tiny_library import SETTINGS, config, render, request

CLIPS = 5


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)  # as workers have it; a model this small only loses by more


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(tmp_path_factory.mktemp("films"))


def curated(films: Path, root: Path) -> Home:
    """A home with the films scanned, captioned by measurements and packed."""
    home = Home(root)
    curate(request(films), home, SerialEngine(), Silence())
    return home


@pytest.fixture(scope="module")
def home(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Shared: each test asks a model of its own name, so none finds another's answers."""
    return curated(films, tmp_path_factory.mktemp("home"))


@pytest.fixture
def own_home(films: Path, tmp_path: Path) -> Home:
    """For tests that leave more behind than answers of a model."""
    return curated(films, tmp_path / "home")


def served(url: str, model: str, *more: str) -> list[str]:
    return [
        "captioners=endpoint",
        f"caption.endpoint.url={url}",
        f"caption.endpoint.model={model}",
        *more,
    ]


def run(home: Home, *assignments: str) -> Any:
    return caption_clips(home, config(*assignments), SerialEngine(), Silence())


def rows(home: Home, captioner: str, model: str = "") -> list[CaptionRow]:
    with Catalog.open(home.catalog()) as catalog:
        stored = catalog.rows(CaptionRow, {"captioner": captioner})
    return [row for row in stored if (row.source or "").startswith(model)]


def test_stored_answers_are_not_asked_for_again(home: Home) -> None:
    witness = Witness()
    with witness.serving() as url:
        first = run(home, *served(url, "once"))
        again = run(home, *served(url, "once"))
        other = run(home, *served(url, "once", "caption.ask.frames=2"))
    assert first.captioned == again.captioned == other.captioned == {"endpoint": CLIPS}
    assert (first.asked, again.asked) == ({"endpoint": CLIPS}, {})
    assert again.stored == {"endpoint": CLIPS}
    assert first.spent["requests"] == CLIPS
    assert len(witness.bodies) == 2 * CLIPS  # other frames, other captions
    assert len({row.fingerprint for row in rows(home, "endpoint", "once")}) == 2
    assert not spools(home.root / "spool")
    with Catalog.open(home.catalog()) as catalog:
        runs = sorted(catalog.rows(RunRow, {"kind": "caption"}), key=lambda run: run.finished_at)
    summaries = [json.loads(run.summary) for run in runs]
    spent = [summary["spent"].get("requests") for summary in summaries[-3:]]
    assert sorted(spent) == [0, CLIPS, CLIPS]


def test_words_stand_at_the_clip_they_were_said_of(home: Home) -> None:
    with Witness(delay=lambda number: 0.1 * (number % 3)).serving() as url:
        run(home, *served(url, "encoded"))
    said = {row.clip_id: row.caption for row in rows(home, "endpoint", "encoded")}
    with Catalog.open(home.catalog()) as catalog:
        clips = catalog.rows(ClipRow)
    assert len(clips) == len(set(said.values())) == CLIPS
    for clip in clips:
        traces = trace_folder(home.films, clip.video_id, config().scan.fingerprint)
        asked = CaptionRequest(clip, None, Path("x"), None, traces)  # type: ignore[arg-type] - no film is needed
        assert said[clip.clip_id] == encoded(question(asked, AskConfig()).pictures)


def test_failures_that_may_pass_are_not_stored(home: Home) -> None:
    with Witness().serving() as target:
        faults = dict.fromkeys(range(1, 3), status(500))
        with Proxy(target, faults).serving() as url:
            options = ["caption.endpoint.retries=0", "caption.endpoint.concurrency=1"]
            first = run(home, *served(url, "failing", *options))
            assert first.missing == {"http_500": 2}
            assert len(rows(home, "endpoint", "failing")) == CLIPS - 2
            again = run(home, *served(url, "failing", *options))
    assert again.missing == {}
    assert (again.asked, again.stored) == ({"endpoint": 2}, {"endpoint": CLIPS - 2})


def test_answers_that_cannot_stand_are_stored_with_their_reason(home: Home) -> None:
    witness = Witness(lambda _: completion("I'm sorry, I can't help with that."))
    with witness.serving() as url:
        both = run(home, *served(url, "refusing", "captioners=endpoint,describe"))
        again = run(home, *served(url, "refusing", "captioners=endpoint,describe"))
        with pytest.raises(CaptionError, match=f"none of {CLIPS} clips got words .refused 5"):
            run(home, *served(url, "refusing"))
    assert both.captioned == again.captioned == {"describe": CLIPS}
    assert len(witness.bodies) == 2 * CLIPS  # each asked twice, once and for all
    assert {row.reason for row in rows(home, "endpoint", "refusing")} == {"refused"}


def test_killed_run_pays_for_nothing_twice(home: Home) -> None:
    """Killed while its third request is under way: the first two are not asked again."""
    third, release = threading.Event(), threading.Event()

    def delay(number: int) -> float:
        if number == 3:
            third.set()
            release.wait(60)
        return 0.0

    witness = Witness(delay=delay)
    with witness.serving() as url:
        settings = [*SETTINGS, *served(url, "killed", "caption.endpoint.concurrency=1")]
        command = [sys.executable, "-m", "pipelines", "caption", "--home", str(home.root)]
        for setting in settings:
            command += ["--set", setting]
        environment = os.environ | {"TEMPO_ENDPOINT_KEY": "sk-verysecret0123456789"}
        killed = subprocess.Popen(
            command, cwd=REPOSITORY, env=environment, stdout=subprocess.DEVNULL
        )
        assert third.wait(120)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        release.set()
        assert rows(home, "endpoint", "killed") == []
        assert len(spools(home.root / "spool")) == 1
        again = subprocess.run(
            [*command, "--json"], cwd=REPOSITORY, env=environment, capture_output=True, text=True
        )
    assert again.returncode == 0, again.stderr
    summary = json.loads(again.stdout.splitlines()[-1])
    assert (summary["asked"], summary["stored"]) == ({"endpoint": 3}, {"endpoint": 2})
    asked = Counter(encoded(pictures_of(body)) for body in witness.bodies)
    assert sorted(asked.values()) == [1] * (CLIPS - 1) + [2]
    assert witness.headers[0]["Authorization"] == "Bearer sk-verysecret0123456789"
    assert not spools(home.root / "spool")
    # The key stands nowhere in what was written or said.
    said = again.stdout + again.stderr
    written = [path.read_bytes() for path in home.root.rglob("*") if path.is_file()]
    assert "verysecret" not in said
    assert not any(b"verysecret" in data for data in written)


def test_captioners_are_asked_in_order_and_only_about_what_is_left(
    films: Path, tmp_path: Path
) -> None:
    library = tmp_path / "library"
    library.mkdir()
    for path in films.iterdir():
        (library / path.name).write_bytes(path.read_bytes())
    (library / "first.txt").write_text("a person's words")
    home = Home(tmp_path / "home")
    witness = Witness()
    with witness.serving() as url:
        asked = request(library, *served(url, "m", "captioners=sidecar,endpoint,describe"))
        summary = curate(asked, home, SerialEngine(), Silence())
    assert len(witness.bodies) == 3  # first.mp4 holds two of the five clips
    assert Counter(row.captioner for row in said_rows(home)) == {
        "sidecar": 2,
        "endpoint": 3,
    }
    assert summary.dataset is not None
    assert summary.dataset.uncaptioned == {}


def said_rows(home: Home) -> list[CaptionRow]:
    with Catalog.open(home.catalog()) as catalog:
        return [row for row in catalog.rows(CaptionRow) if row.caption is not None]


def test_what_is_missing_is_found_before_a_film_is_opened(
    films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TEMPO_ENDPOINT_KEY", raising=False)
    home = Home(tmp_path / "home")
    remote = served("https://models.example.org/v1", "m")
    consent = "caption.endpoint.consent_host=models.example.org"
    for assignments, what in (
        (remote, "consent_host"),
        ([*remote, consent], "TEMPO_ENDPOINT_KEY"),
        (["captioners=local", f"caption.local.model={tmp_path}"], "hf download"),
    ):
        with pytest.raises((ValueError, CaptionError), match=what):
            curate(request(films, *assignments), home, SerialEngine(), Silence())
    assert not home.films.exists()


def test_edited_captions_win_and_are_packed(films: Path, own_home: Home, tmp_path: Path) -> None:
    table = tmp_path / "edits.csv"
    assert export_captions(own_home, config(), table) == CLIPS
    with table.open(newline="") as file:
        exported = list(csv.DictReader(file))
    assert {row["captioner"] for row in exported} == {"describe"}
    assert all(row["caption"].startswith("A ") and row["film"] for row in exported)
    exported[0]["caption"] = "=an edit, by hand"
    exported[1] |= {"caption": "another", "clip_id": "f" * 32}
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*exported[0], "editor"])
        writer.writeheader()
        writer.writerows([exported[0] | {"editor": "Ada"}, exported[1], exported[2]])
    outcome = import_captions(own_home, table)
    assert (outcome.imported, outcome.unchanged) == (1, 1)  # nobody touched the third row
    assert [(row.lines, row.why) for row in outcome.refused] == [
        ("3", f"no clip {'f' * 32} is known here")
    ]
    assert import_captions(own_home, table).imported == 0
    summary = curate(request(films), own_home, SerialEngine(), Silence())
    assert summary.dataset is not None
    assert (summary.dataset.reference, summary.dataset.fresh) == ("tiny@2", True)
    with Catalog.open(own_home.catalog()) as catalog:
        packed = catalog.read("samples", columns=["caption"])["caption"].to_pylist()
    assert any("=an edit, by hand" in caption for caption in packed)
    by_source = {row.source for row in rows(own_home, "edited")}
    assert by_source == {"Ada (edits.csv)"}


def test_newest_edit_counts_also_when_it_is_an_old_one(own_home: Home, tmp_path: Path) -> None:
    clip_id = rows(own_home, "describe")[0].clip_id
    for words in ("first", "second", "first"):
        path = tmp_path / "edits.jsonl"
        path.write_text(json.dumps({"clip_id": clip_id, "caption": words}))
        assert import_captions(own_home, path).imported == 1
    summary = run(own_home)
    assert summary.captioned == {"describe": CLIPS - 1, "edited": 1}
    table = tmp_path / "now.csv"
    export_captions(own_home, config(), table)
    with table.open(newline="") as file:
        now = {row["clip_id"]: row for row in csv.DictReader(file)}
    assert (now[clip_id]["caption"], now[clip_id]["captioner"]) == ("first", "edited")


def test_words_for_a_film_that_was_taken_down_are_refused(own_home: Home, tmp_path: Path) -> None:
    with Catalog.open(own_home.catalog()) as catalog:
        clip = catalog.rows(ClipRow)[0]
    forget(own_home, clip.video_id, "rights withdrawn", Silence())
    path = tmp_path / "edits.jsonl"
    path.write_text(json.dumps({"clip_id": clip.clip_id, "caption": "words that came too late"}))
    outcome = import_captions(own_home, path)
    assert outcome.imported == 0
    assert [row.why for row in outcome.refused] == ["its film was taken down"]
    assert rows(own_home, "edited") == []


def test_takedown_purges_what_a_killed_run_was_told(own_home: Home) -> None:
    with Catalog.open(own_home.catalog()) as catalog:
        clip = catalog.rows(ClipRow)[0]
    with Spool(own_home.root / "spool", "killed") as spool:
        spool.add(Answer(clip.clip_id, "endpoint", "f" * 32, "words of the film", None, "x"))
    forget(own_home, clip.video_id, "rights withdrawn", Silence())
    left = [path for path in own_home.root.rglob("*") if path.is_file()]
    assert not any(b"words of the film" in path.read_bytes() for path in left)
    assert not spools(own_home.root / "spool")


def test_version_brings_its_films_and_policy(films: Path, home: Home) -> None:
    taken, of_films = recorded_config(home, "tiny@1")
    assert len(of_films) == 3
    assert taken.select == config().select
    one = caption_clips(
        home,
        with_overrides(taken, ["captioners=describe"]),
        SerialEngine(),
        Silence(),
        of_films[:1],
    )
    assert one.films == 1
    assert films.is_dir()


def test_production_recipe_with_a_tiny_local_model(films: Path, tmp_path: Path) -> None:
    """From films to a published version whose captions a model has said; in a worker, the same."""
    folder = build(tmp_path / "vlm")
    assignments = [
        *SETTINGS, "score.scorers=", "select.aesthetic.min=none", "duplicates.look=none",
        "balance.clusters=0", f"caption.local.model={folder}", "caption.local.device=cpu",
        "caption.local.clips_at_once=2", "caption.ask.answer_tokens=48",
        "caption.ask.prompt=bada $frames", "split.val_share=0.3",
    ]  # fmt: skip
    production = with_overrides(curation_recipe("curate_production"), assignments)
    asked = CurateRequest(list_films([str(films)]), "tiny", production)
    home = Home(tmp_path / "home")
    summary = curate(asked, home, SerialEngine(), Silence())
    assert summary.dataset is not None
    said = {row.clip_id: row for row in rows(home, "local")}
    assert len(said) == CLIPS
    assert {row.source for row in said.values()} == {find_weights(production.caption.local).name}
    captions = {row.caption for row in said.values() if row.caption}
    assert len(captions) >= CLIPS - 1
    with Catalog.open(home.catalog()) as catalog:
        packed = catalog.read("samples", columns=["caption"])["caption"].to_pylist()
    assert {caption for text in packed for caption in split(text)} == captions
    manifest = (home.datasets / "tiny" / "1" / "manifest.json").read_text()
    assert json.loads(manifest)["config"]["caption"]["local"]["model"].startswith("vlm@")
    assert str(tmp_path / "vlm") not in manifest  # the same on every machine
    again = caption_clips(home, production, SerialEngine(), Silence())
    assert (again.asked, again.stored) == ({"sidecar": CLIPS}, {"local": CLIPS})
    anew = with_overrides(production, ["captioners=local", "caption.ask.prompt_version=2"])
    caption_clips(home, anew, LocalEngine(2), Silence())
    by_fingerprint: dict[str, dict[str, str | None]] = {}
    for row in rows(home, "local"):
        by_fingerprint.setdefault(row.fingerprint, {})[row.clip_id] = row.caption
    here, in_worker = by_fingerprint.values()
    assert here == in_worker


def test_commands_say_what_they_did(own_home: Home, tmp_path: Path) -> None:
    home, table = ["--home", str(own_home.root)], tmp_path / "edits.csv"
    done = tempo("caption", "export", str(table), "--dataset", "tiny", *home)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{CLIPS} clips in {table}" in done.stdout
    lines = table.read_text().splitlines()
    edited = [line.replace("A ", "My ", 1) for line in lines[1:]]
    table.write_text("\n".join([lines[0], *edited, "not-an-id,words", lines[1]]))
    done = tempo("caption", "import", str(table), *home)
    assert done.returncode == 1
    assert f"line {CLIPS + 2}: clip_id is not one" in done.stdout
    assert f"line {CLIPS + 3}: clip" in done.stdout
    assert f"{CLIPS} captions imported, 0 as they were, 2 refused" in done.stdout
    done = tempo("caption", "--dataset", "tiny", "--json", *home)
    assert json.loads(done.stdout)["captioned"] == {"edited": CLIPS}
    done = tempo("caption", "--dataset", "tiny", *home)
    assert f"{CLIPS} clips of 3 films" in done.stdout
    assert "catalog" in done.stdout
    (tmp_path / "none.csv").write_text("clip_id,caption\n")
    assert tempo("caption", "import", str(tmp_path / "none.csv"), *home).returncode == 1


def test_option_before_a_subcommand_is_refused_and_not_lost(tmp_path: Path) -> None:
    done = tempo("caption", "--home", str(tmp_path), "import", "edits.csv")
    assert done.returncode == 1
    assert "--home stands before 'import'" in done.stderr
    done = tempo("caption", "--dataset", "tiny", "--recipe", "curate_production")
    assert "brings its recipe with it" in done.stderr
