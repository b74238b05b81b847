"""`tempo study` on the command line: what it makes, what it refuses, whom it invites."""

import dataclasses
import json
import shutil
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import filelock
import numpy as np
import pytest

from curation.errors import CurationError
from curation.video.encode import FilmWriter
from curation.video.film import Film
from curation.video.playback import played, rgb_of
from evaluation.results import (
    SCHEMA_VERSION,
    Cost,
    Evaluation,
    JudgedVideo,
    Origin,
    PromptShown,
    VariantResult,
)
from evaluation.study.credentials import load_credentials
from evaluation.study.document import Container, Mode, load
from evaluation.variants import Variant
from pipelines.engine import SerialEngine
from pipelines.job import Silence
from pipelines.settings import Home
from pipelines.study import check_address, invite, open_store
from pipelines.study_new import StudyRequest, _becoming, new_study
from pipelines.study_runs import material_of
from pipelines.study_videos import Source, common_size, encode, material_in
from tests.pipelines.test_cli import tempo
from tests.pipelines.tiny_library import HEIGHT, WIDTH, shot


def film(path: Path, seed: int = 1, frames: int = 6, width: int = WIDTH, fps: int = 24) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with FilmWriter(path, width, HEIGHT, fps=Fraction(fps)) as writer:
        for picture in shot(seed, frames):
            writer.write_rgb(np.ascontiguousarray(picture[:, :width]))
    return path


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two systems, two items; texts stand beside the first system's videos."""
    root = tmp_path_factory.mktemp("videos")
    for number, system in enumerate(("ours", "base")):
        for item in ("red wall", "blue wall"):
            film(root / system / f"{item}.mp4", number + len(item))
    for item in ("red wall", "blue wall"):
        (root / "ours" / f"{item}.txt").write_text(f"A {item}.\n")
    return root


def systems(root: Path) -> list[str]:
    return ["--system", f"ours={root / 'ours'}", "--system", f"base={root / 'base'}"]


def test_new_invite_report(videos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    done = tempo("study", "new", str(folder), *systems(videos), "--workers", "1", "--json")
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert (made["items"], made["systems"], made["videos"]) == (2, ["ours", "base"], 4)
    assert any("--frozen-gold" in warning for warning in made["warnings"])
    assert any("5 tests with Holm's correction need 8 items" in w for w in made["warnings"])
    study = load(folder)
    assert [item.prompt for item in study.items] == ["A blue wall.", "A red wall."]
    assert folder.stat().st_mode & 0o777 == 0o700
    words = (folder / "study.json").read_text()
    assert load_credentials(folder).owner_token not in words
    invited = tempo(
        "study", "invite", str(folder), "--count", "2", "--url", "https://study.example", "--json"
    )
    links = json.loads(invited.stdout)["invitations"]
    assert [one["rater"] for one in links] == ["R001", "R002"]
    for one in links:
        start, _, token = one["link"].rpartition("/")
        assert start == "https://study.example/join"
        assert load_credentials(folder).read_invitation(token) == (one["rater"], 1)
    report = tempo("study", "report", str(folder), "--json")
    assert report.returncode == 1  # nothing was answered: no result
    assert json.loads(report.stdout)["answers"] == 0
    assert (folder / "report" / "report.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["new", "{out}", "--system", "ours"], "NAME=FOLDER"),
        (["new", "{out}", "--system", "a={in}/ours", "--system", "a={in}/base"], "each name once"),
        (["new", "{out}"], "--from-run"),
        (["new", "{out}", "--system", "a={in}/ours", "--from-run", "x"], "--from-run"),
        (["new", "{out}", "--system", "a={in}/nowhere"], "no such folder"),
        (["new", "{in}", "--system", "a={in}/ours"], "is there already"),
        (["new", "{out}", "--system", "a={in}/base"], "no prompt; write"),
        (["new", "{out}", "--system", "a={in}/ours", "--size", "101x100"], "even sides"),
        (["new", "{out}", "--system", "a={in}/ours", "--frozen-gold", "3"], "there are 2 items"),
        (["new", "{out}", "--system", "a={in}/ours", "--repeats", "9"], "repeats = 9"),
        (["new", "{out}", "--system", "a={in}/ours", "--mode", "pairwise"], "needs at least 2"),
        (["invite", "{in}", "--url", "https://x.example"], "tempo study new"),
        (["serve", "{in}"], "tempo study new"),
        (["report", "{in}"], "tempo study new"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    videos: Path, tmp_path: Path, arguments: list[str], words: str
) -> None:
    out = tmp_path / "study"
    given = [a.replace("{out}", str(out)).replace("{in}", str(videos)) for a in arguments]
    done = tempo("study", *given)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["new", "invite", "serve", "report"])
def test_help_has_an_example(command: str) -> None:
    assert f"tempo study {command}" in tempo("study", command, "--help").stdout.replace("\n", " ")


def test_systems_must_show_the_same_items(videos: Path, tmp_path: Path) -> None:
    shutil.copytree(videos, tmp_path / "v")
    (tmp_path / "v" / "base" / "red wall.mp4").unlink()
    folders = {name: tmp_path / "v" / name for name in ("ours", "base")}
    with pytest.raises(ValueError, match="no video called red wall"):
        material_in(folders, None)
    shutil.copy(videos / "base" / "red wall.mp4", tmp_path / "v" / "base" / "red wall.mkv")
    assert material_in(folders, None).systems == ("ours", "base")
    prompts = tmp_path / "prompts.csv"
    prompts.write_text('item,prompt\nred wall,"Red, says the file."\nblue wall,Blue.\n')
    assert material_in(folders, prompts).prompts["red wall"] == "Red, says the file."
    prompts.write_text("item,words\nred wall,Red.\n")
    with pytest.raises(ValueError, match="columns item and prompt"):
        material_in(folders, prompts)


def test_a_damaged_video_names_itself_and_leaves_nothing(videos: Path, tmp_path: Path) -> None:
    shutil.copytree(videos, tmp_path / "v")
    (tmp_path / "v" / "base" / "red wall.mp4").write_bytes(b"not a film")
    material = material_in({"ours": tmp_path / "v/ours", "base": tmp_path / "v/base"}, None)
    request = StudyRequest(tmp_path / "study", material, "Walls", size=(WIDTH, HEIGHT))
    with pytest.raises(CurationError, match=r"base/red wall\.mp4"):
        new_study(request, SerialEngine(), Silence())
    assert {path.name for path in tmp_path.iterdir()} == {"v"}


def test_a_killed_study_is_made_by_the_same_command(videos: Path, tmp_path: Path) -> None:
    shutil.copytree(videos, tmp_path / "v")
    film(tmp_path / "v" / "ours" / "red wall.mp4", frames=60)  # long enough to be killed within
    work, folder = tmp_path / "work", tmp_path / "work" / "study"
    command = ["study", "new", str(folder), *systems(tmp_path / "v"), "--workers", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines", *command], stdout=subprocess.DEVNULL
    )
    while not list(work.glob(".study.part/videos/*.mp4")):
        assert process.poll() is None
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert [path.name for path in work.iterdir()] == [".study.part"]
    material = material_in({name: tmp_path / "v" / name for name in ("ours", "base")}, None)
    request = StudyRequest(folder, material, "Walls")
    with (
        filelock.FileLock(work / ".study.part" / ".lock"),
        pytest.raises(ValueError, match="another process is making it"),
    ):
        new_study(request, SerialEngine(), Silence())
    new_study(request, SerialEngine(), Silence())
    assert [path.name for path in work.iterdir()] == ["study"]
    assert {path.name for path in folder.iterdir()} == {"study.json", "secrets.json", "videos"}
    assert len(list((folder / "videos").iterdir())) == 4


def test_a_study_is_one_processs_own_until_it_is_whole_and_then_nobodys(tmp_path: Path) -> None:
    folder, building = tmp_path / "study", tmp_path / ".study.part"
    with _becoming(folder):
        (building / "made").touch()
        with pytest.raises(ValueError, match="another process is making it"), _becoming(folder):
            pass
        assert (building / "made").exists()
    assert [path.name for path in folder.iterdir()] == ["made"]
    # One that asked whether it is there just before it was.
    with pytest.raises(ValueError, match="is there already"), _becoming(folder):
        pass
    assert [path.name for path in tmp_path.rglob("*")] == ["study", "made"]


def test_pairs_have_practice_and_gold_of_their_own(videos: Path, tmp_path: Path) -> None:
    practice, gold = tmp_path / "practice", tmp_path / "gold"
    for folder in (practice, gold):
        for side in ("left", "right"):
            film(folder / f"walls.{side}.mp4", len(side))
        (folder / "walls.txt").write_text("Two walls.")
    (practice / "walls.note.txt").write_text("The left one is calmer.")
    (gold / "walls.accept.json").write_text('{"motion_quality": [-1, -1]}')
    material = material_in({name: videos / name for name in ("ours", "base")}, None)
    request = StudyRequest(
        tmp_path / "s", material, "Walls", Mode.PAIRWISE, training=practice, gold=gold
    )
    study = new_study(request, SerialEngine(), Silence()).study
    (shown,), (known,) = study.training, study.gold
    assert (shown.prompt, shown.note) == ("Two walls.", "The left one is calmer.")
    assert study.clips[known.videos[0]].source == str(gold / "walls.left.mp4")
    assert study.clips[shown.videos[1]].source == str(practice / "walls.right.mp4")
    assert known.accept == {"motion_quality": (-1, -1)}
    again = dataclasses.replace(request, folder=tmp_path / "t")
    (gold / "walls.accept.json").unlink()
    with pytest.raises(ValueError, match=r'"motion_quality": \[-1, -1\]'):
        new_study(again, SerialEngine(), Silence())
    (gold / "walls.txt").unlink()
    with pytest.raises(ValueError, match=r"walls has no prompt; write .*walls\.txt$"):
        new_study(again, SerialEngine(), Silence())
    (gold / "walls.right.mp4").unlink()
    with pytest.raises(ValueError, match=r"walls\.left\.mp4 and walls\.right\.mp4"):
        new_study(again, SerialEngine(), Silence())


def test_sizes_rates_and_lengths_become_one(tmp_path: Path) -> None:
    """The smallest size of one shape; a film of 12 fps keeps its duration; trimming is for all."""
    with FilmWriter(tmp_path / "large.mp4", 2 * WIDTH, 2 * HEIGHT) as writer:
        for picture in shot(3, 30):
            writer.write_rgb(picture.repeat(2, 0).repeat(2, 1))
    box = Container(WIDTH, HEIGHT)
    slow = film(tmp_path / "slow.mp4", 4, frames=12, fps=12)
    shown = {
        name: encode(Source(path, "x", tmp_path / f"{name} out.mp4", box, frames))
        for name, path, frames in (
            ("large", tmp_path / "large.mp4", 20), ("slow", slow, None),
        )
    }  # fmt: skip
    assert (shown["large"].frames, shown["slow"].frames) == (20, 24)
    info = Film(tmp_path / "large out.mp4").info
    assert info.display_size(info.whole) == (WIDTH, HEIGHT)
    still = encode(Source(slow, "x", tmp_path / "still.mp4", box, frozen=True))
    assert still.frames == 24
    frozen = Film(tmp_path / "still.mp4")
    pictures = [rgb_of(f, frozen.info.colour).astype(int) for f in played(frozen, WIDTH, HEIGHT)]
    assert max(np.abs(picture - pictures[0]).mean() for picture in pictures) < 1
    square = film(tmp_path / "square.mp4", 5, width=HEIGHT)
    with pytest.raises(ValueError, match="of different shapes"):
        common_size([tmp_path / "large.mp4", square])
    assert common_size([tmp_path / "large.mp4", slow]) == (WIDTH, HEIGHT)


@pytest.mark.parametrize(
    "url", ["study.example", "ftp://x.example", "https://x.example/study", "https://a:b@x.example"]
)
def test_addresses_are_a_host_of_their_own(url: str) -> None:
    with pytest.raises(ValueError, match="url"):
        check_address(url)
    assert check_address("https://x.example:8443/") == "https://x.example:8443"


def test_a_rater_is_invited_again(videos: Path, tmp_path: Path) -> None:
    material = material_in({"ours": videos / "ours"}, None)
    folder = new_study(
        StudyRequest(tmp_path / "s", material, "Walls"), SerialEngine(), Silence()
    ).folder
    invite(folder, "http://127.0.0.1:1")
    (again,) = invite(folder, "http://127.0.0.1:1", again="R001")
    edition = load_credentials(folder).read_invitation(again.link.rsplit("/", 1)[1])
    assert (again.rater, edition) == ("R001", ("R001", 2))
    store = open_store(folder, None)
    assert [rater.edition for rater in store.raters()] == [2]
    store.close()
    with pytest.raises(ValueError, match="never invited"):
        invite(folder, "http://127.0.0.1:1", again="R009")


def test_material_of_evaluations(tmp_path: Path) -> None:
    """Two schedules, two prompts, two seeds; one video is missing, and its item is left out."""
    home = Home(tmp_path / "home")
    first = evaluation(home, "e" * 16, missing=("p2", 1, 1))
    found = material_of(home, ["latest"])
    assert found.systems == tuple(row.label for row in first.variants)
    assert list(found.items) == ["p1 seed 0", "p1 seed 1", "p2 seed 0"]
    assert found.prompts["p2 seed 0"] == "Words of p2."
    assert found.notes == ("1 of 4 prompts lack a video of some variant and are left out",)
    evaluation(home, "f" * 16, missing=None)
    both = material_of(home, ["eeee", "ffff"])
    assert len(both.systems) == 4
    assert both.systems[2].endswith("(ffffffff)")
    shutil.rmtree(home.generated)
    with pytest.raises(ValueError, match="finish them with tempo evaluate"):
        material_of(home, ["eeee"])


FINISHED = "2026-11-29T12:00:00+00:00"


def evaluation(home: Home, name: str, missing: tuple[str, int, int] | None) -> Evaluation:
    """An evaluation as `tempo evaluate` leaves it, as far as a study looks."""
    cost = Cost(1.0, None, None, None)
    labels = ("f(6,24)m(1,2)", "f(24)m(1)")
    videos = []
    for prompt in ("p1", "p2"):
        for seed in (0, 1):
            for variant in (0, 1):
                key = f"{name}-{prompt}-{seed}-{variant}"
                videos.append(JudgedVideo(prompt, variant, seed, key, "", 6, cost, {}))
                if (prompt, seed, variant) != missing:
                    folder = home.generated / key
                    film(folder / "video.mp4", seed)
                    (folder / "cell.json").write_text("{}")
    made = Evaluation(
        schema_version=SCHEMA_VERSION,
        id=name,
        origin=Origin("c", None, "f", "s", "h", "r", "proxy", {}, {}, (), "0", "run", FINISHED),
        level=0.95,
        prompts=tuple(PromptShown(p, f"Words of {p}.", "CC0", "", ()) for p in ("p1", "p2")),
        variants=tuple(
            VariantResult(label, Variant(label, 6), 4, cost, {}, None) for label in labels
        ),
        differences=(),
        videos=tuple(videos),
        failures=(),
    )
    folder = home.runs / name
    folder.mkdir(parents=True)
    (folder / "evaluation.json").write_text(json.dumps(made.document()))
    return made
