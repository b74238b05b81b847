"""The job that makes reports: its files, its command, and what it says of a version's fate."""

import dataclasses
import json
import os
import re
import shlex
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from curation.catalog.datasets import resolve
from curation.catalog.store import Catalog
from curation.errors import DatasetError
from curation.report.document import Report
from curation.report.page import MAX_BYTES, IndexEntry, render_index
from pipelines.cli import app
from pipelines.console import print_dataset
from pipelines.curate import curate
from pipelines.engine import SerialEngine
from pipelines.forget import forget
from pipelines.inputs import repeatable
from pipelines.job import Silence
from pipelines.preview import preview
from pipelines.report import read_version, write_report
from pipelines.settings import Home
from pipelines.summary import Summary
from pipelines.verify import verify
from pipelines.version_commands import commands
from tests.pipelines.tiny_library import render, request


def run(films: Path, home: Home, *assignments: str) -> Summary:
    return curate(request(films, *assignments), home, SerialEngine(), Silence())


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(tmp_path_factory.mktemp("films"))


@pytest.fixture(scope="module")
def home(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Two versions: the second drops the film with the least contrast, and has another seed."""
    found = Home(tmp_path_factory.mktemp("home"))
    run(films, found)
    run(films, found, "select.contrast.min=31", "split.seed=7")
    return found


@pytest.fixture
def copy(home: Home, tmp_path: Path) -> Home:
    """The same home to do harm to; its catalog stays where the first one is."""
    for name in ("datasets", "films"):
        shutil.copytree(home.root / name, tmp_path / name)
    for name in ("catalog.db", "warehouse"):
        (tmp_path / name).symlink_to(home.root / name)
    return Home(tmp_path)


def numbers(home: Home, reference: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((home.reports / reference / "report.json").read_bytes())
    return found


def test_each_curation_ends_with_a_report_and_says_where(home: Home, films: Path) -> None:
    summary = run(films, home, "select.contrast.min=31", "split.seed=7")  # as it is already
    assert summary.dataset is not None
    assert summary.page == str(home.reports / "tiny@2" / "report.html")
    assert Path(summary.page).is_file()
    out = Console(record=True, width=500)
    print_dataset(out, summary.dataset, summary.report, summary.page)
    assert summary.page in out.export_text()


def test_the_report_is_one_file_of_bounded_size_with_no_address_in_it(home: Home) -> None:
    page = (home.reports / "tiny@2" / "report.html").read_text(encoding="utf-8")
    assert len(page.encode()) < MAX_BYTES
    assert not re.findall(r"""(?:src|href)=["']?(?:https?:|//)""", page)
    assert page.count("<script>") == 1
    assert "</html>" in page


def test_making_it_again_gives_the_same_bytes(home: Home) -> None:
    folder = home.reports / "tiny@2"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    index = (home.reports / "index.html").read_bytes()
    write_report(home, "tiny@2", None, Silence())
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert (home.reports / "index.html").read_bytes() == index


def test_it_says_what_changed_since_the_version_before(home: Home) -> None:
    drift = numbers(home, "tiny@2")["drift"]
    assert drift["reference"] == "tiny@1"
    changes = {change["what"]: (change["before"], change["now"]) for change in drift["settings"]}
    assert changes == {"select.contrast.min": ("6.0", "31.0"), "split.seed": ("0", "7")}
    assert drift["fingerprints"] == []
    assert (drift["clips_removed"], drift["clips_added"], drift["clips_common"]) == (1, 0, 4)
    assert numbers(home, "tiny@1")["drift"] is None


def test_any_two_versions_can_be_compared(home: Home) -> None:
    result = CliRunner().invoke(
        app, ["report", "tiny@1", "--against", "tiny@2", "--home", str(home.root), "--json"]
    )
    assert result.exit_code == 0, result.output
    written = json.loads(result.output.splitlines()[-1])
    assert written["against"] == "tiny@2"
    assert Path(written["page"]).is_file()
    drift = numbers(home, "tiny@1")["drift"]
    assert (drift["clips_removed"], drift["clips_added"]) == (0, 1)
    write_report(home, "tiny@1", None, Silence())


def test_an_unknown_version_is_refused_with_those_there_are(home: Home) -> None:
    with pytest.raises(DatasetError, match="tiny@1, tiny@2"):
        write_report(home, "tiny@9", None, Silence())


def test_a_missing_shard_is_the_first_thing_said(copy: Home) -> None:
    shard = min((copy.datasets / "tiny" / "2").glob("*.tar"))
    shard.unlink()
    written = write_report(copy, "tiny@2", None, Silence())
    assert written.state == "error"
    report = numbers(copy, "tiny@2")
    assert report["alerts"][0]["title"] == "1 shard is not as published"
    states = {row["name"]: row["state"] for row in report["shards"]}
    assert states[shard.stem] == "missing"
    assert set(states.values()) == {"missing", "sha256 matches"}


def test_a_changed_shard_is_seen(copy: Home) -> None:
    shard = min((copy.datasets / "tiny" / "2").glob("*.tar"))
    data = bytearray(shard.read_bytes())
    data[5000] ^= 1
    shard.write_bytes(data)
    assert write_report(copy, "tiny@2", None, Silence()).state == "error"
    states = {row["name"]: row["state"] for row in numbers(copy, "tiny@2")["shards"]}
    assert states[shard.stem] == "other sha256"


def test_a_version_without_its_folder_is_refused(copy: Home) -> None:
    (copy.datasets / "tiny" / "1" / "manifest.json").unlink()
    with pytest.raises(DatasetError, match="put the version's folder back"):
        write_report(copy, "tiny@1", None, Silence())


def test_a_forgotten_film_is_not_seen_in_any_report(films: Path, tmp_path: Path) -> None:
    """Reports that show it are removed; made anew, its pictures are gone and the numbers stand."""
    home = Home(tmp_path)
    run(films, home)
    before = numbers(home, "tiny@1")
    with Catalog.open(home.catalog()) as catalog:
        film = catalog.read("samples")["video_id"][0].as_py()
        clips = {row["clip_id"] for row in catalog.read("clips", {"video_id": film}).to_pylist()}
    pictures = (home.reports / "tiny@1" / "report.html").read_text(encoding="utf-8")
    forget(home, film, "test", Silence())
    assert not (home.reports / "tiny@1").exists()
    assert "no report yet" in (home.reports / "index.html").read_text(encoding="utf-8")
    write_report(home, "tiny@1", None, Silence())
    after = numbers(home, "tiny@1")
    assert after["totals"] == before["totals"]
    expected = preview(home, "tiny@1", []).kept_now.clips
    assert after["whatif"]["kept"]["clips"] == expected < before["whatif"]["kept"]["clips"]
    page = (home.reports / "tiny@1" / "report.html").read_text(encoding="utf-8")
    for clip in clips:
        assert f'"{clip}":{{"jpeg"' in pictures
        assert f'"{clip}":{{"jpeg"' not in page


def test_the_index_lists_every_version_and_links_its_report(home: Home) -> None:
    page = (home.reports / "index.html").read_text(encoding="utf-8")
    assert page.index("tiny@2") < page.index("tiny@1")
    for reference in ("tiny@1", "tiny@2"):
        assert f'href="{reference}/report.html"' in page
        assert (home.reports / reference / "report.html").is_file()
    with Catalog.open(home.catalog()) as catalog:
        row = resolve(catalog, "tiny@2")
    assert f"<td>{row.samples}</td>" in page


def test_the_index_escapes_and_says_when_there_is_no_report() -> None:
    entry = IndexEntry("a<b>@1", "today", "none", "no report yet", 1, 0.1, 1, 10, "no", None)
    page = render_index([entry])
    assert "a&lt;b&gt;@1" in page
    assert "no report yet" in page
    assert 'href="a' not in page


def test_the_document_has_no_field_that_the_json_lacks(home: Home) -> None:
    assert set(numbers(home, "tiny@2")) == set(Report.__dataclass_fields__)


@pytest.fixture(scope="module")
def listed(films: Path, home: Home) -> Home:
    """The home with a dataset more, from a manifest that gives the films a licence."""
    manifest = films / "licensed films.csv"
    lines = [f"{film.name},CC-BY-4.0" for film in sorted(films.glob("*.mp4"))]
    manifest.write_text("\n".join(["uri,licence", *lines]))
    asked = dataclasses.replace(
        request(manifest, "select.licences=CC-BY-4.0"),
        dataset="listed",
        inputs=repeatable([os.path.relpath(manifest)]),
    )
    curate(asked, home, SerialEngine(), Silence())
    return home


def test_the_command_names_what_the_run_was_given(listed: Home, films: Path) -> None:
    with Catalog.open(listed.catalog()) as catalog:
        version = read_version(listed, catalog, resolve(catalog, "listed"))
        words = commands(catalog, listed, version)
        before = commands(
            catalog, listed, read_version(listed, catalog, resolve(catalog, "tiny@1"))
        )
    (curate_again,) = words["curate"]
    assert shlex.split(curate_again)[:3] == ["tempo", "curate", str(films / "licensed films.csv")]
    assert any("select.licences" in change for change in words["base"])
    # Where a run did not record it, the folder of its films has to do.
    assert shlex.split(before["curate"][0])[2] == str(films)


def test_a_verification_is_shown_with_its_version(listed: Home) -> None:
    write_report(listed, "listed", None, Silence())
    assert numbers(listed, "listed@1")["verified"] is None
    tar = next((listed.datasets / "listed" / "1").glob("train-*.tar"))
    whole = tar.read_bytes()
    tar.write_bytes(whole[:-2000] + bytes(2000 - 1) + b"x")  # behind the last member
    assert not verify(listed, "listed", SerialEngine(), Silence()).sound
    write_report(listed, "listed", None, Silence())
    found = numbers(listed, "listed@1")
    assert set(found["verified"]["wrong"]) == {tar.name}
    assert {shard["name"]: shard["verified"] == "sound" for shard in found["shards"]} == {
        shard["name"]: shard["name"] != tar.stem for shard in found["shards"]
    }
    assert any("verification found faults" in alert["title"] for alert in found["alerts"])
    tar.write_bytes(whole)
    outcome = verify(listed, "listed", SerialEngine(), Silence())
    assert outcome.recorded
    write_report(listed, "listed", None, Silence())
    found = numbers(listed, "listed@1")
    assert found["verified"]["wrong"] == {}
    assert found["verified"]["host"] == socket.gethostname()
    assert found["verified"]["frames"] == outcome.frames > 0
    page = (listed.reports / "listed@1" / "report.html").read_text(encoding="utf-8")
    assert f"The last time was {found['verified']['when']}" in page
    index = (listed.reports / "index.html").read_text(encoding="utf-8")
    assert f"sound, {found['verified']['when']}" in index
    assert index.count("not yet") == 2  # tiny@1 and tiny@2
