"""The demo library: what it must hold, that it is what it says, and that it can be made again."""

import dataclasses
import hashlib
import json
import shutil
import subprocess
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from curation.video.film import Film as DecodedFilm
from pipelines.demo.canvas import F32, U8, Size
from pipelines.demo.films import FILMS
from pipelines.demo.library import MANIFEST_FILE, TRUTH_FILE, library_truth, render_library
from pipelines.demo.scenes import farm, table, town
from pipelines.demo.timeline import Event, Film, Take
from pipelines.demo.truth import FilmTruth, film_truth
from pipelines.inputs import list_films

GOOD = [(film, take) for film in FILMS for take in film.takes if take.purpose == "keep"]
SCENES = {take.scene_name: (film.content, take) for film in FILMS for take in film.takes}

STILL_AND_MOVING = Film(
    "short",
    caption="A still life, then a train.",
    size=Size(192, 108),
    takes=(
        Take(table.still_life, 0.5, "still", "A still life.", purpose="static"),
        Take(town.train, 0.5, "track", "A train.", event=Event("flash", at=0.2, seconds=0.05)),
    ),
)
IRREGULAR = Film(
    "irregular",
    size=Size(108, 192),
    rate=Fraction(30),
    vfr=True,
    takes=(Take(farm.windmills, 0.5, "track", "Windmills."),),
)
SMALL = (STILL_AND_MOVING, IRREGULAR)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two short films, rendered in two processes."""
    folder = tmp_path_factory.mktemp("demo") / "library"
    assert render_library(folder, 2, films=SMALL) == folder / TRUTH_FILE
    return folder


def decoded(path: Path) -> tuple[list[int], list[F32]]:
    """Timestamps and luma planes of a film's frames."""
    times, planes = [], []
    for frame in DecodedFilm(path).frames(threads=1):
        times.append(frame.pts)
        planes.append(frame.planes()[0].astype(np.float32))
    return times, planes


def luma(picture: U8) -> U8:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)


# -- what the library holds ----------------------------------------------------------------------


def test_the_library_has_enough_films_of_the_right_length() -> None:
    truth = library_truth()
    assert len(truth) >= 8
    assert len({film.file for film in truth}) == len(truth)
    assert 100 < sum(film.frame_count / film.fps for film in truth) < 200
    captioned = sum(film.caption is not None for film in truth)
    assert 0.4 <= captioned / len(truth) <= 0.6


def test_every_filter_has_something_to_drop_and_something_to_keep() -> None:
    truth = library_truth()
    purposes = {shot.purpose for film in truth for shot in film.shots}
    assert purposes == {"keep", "static", "dark", "defocused", "short"}
    assert {span.kind for film in truth for span in film.transitions} == {"dissolve", "fade"}
    assert {span.kind for film in truth for span in film.not_cuts} == {"flash", "whip_pan"}
    assert sum(len(film.hard_cuts) for film in truth) >= 10
    assert any(film.vfr for film in truth)
    assert any(film.height > film.width for film in truth)
    assert any(film.box for film in truth)
    assert len({film.rate for film in truth}) >= 4


def test_what_is_good_is_enough_to_train_on() -> None:
    """121 frames at 24 fps last 5.04 s; 12 for training and 2 for validation, split by film."""
    long = [
        sum(
            shot.purpose == "keep" and (shot.end - shot.start) / film.fps > 5.5
            for shot in film.shots
        )
        for film in library_truth()
    ]
    assert sum(long) >= 18
    assert sum(count > 0 for count in long) >= 8


@pytest.mark.parametrize(("content", "take"), SCENES.values(), ids=SCENES.keys())
def test_a_scene_is_a_function_of_seed_and_time(content: Size, take: Take) -> None:
    size = Size(*(side // 6 * 2 for side in content))
    paint = take.scene(size, np.random.default_rng(take.seed))
    again = take.scene(size, np.random.default_rng(take.seed))
    late = paint(1.5).copy()
    first = paint(0.0).copy()
    assert first.shape == (size.height, size.width, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(again(0.0), first)
    assert np.array_equal(paint(1.5), late)
    assert np.array_equal(first, late) == (take.purpose == "static")


@pytest.mark.parametrize(("film", "take"), GOOD, ids=[take.scene_name for _, take in GOOD])
def test_a_good_shot_is_sharp_light_and_moves(film: Film, take: Take) -> None:
    paint = take.scene(film.content, np.random.default_rng(take.seed))
    before, after = luma(paint(1.0).copy()), luma(paint(1.08).copy())
    assert 60 < cv2.Laplacian(before, cv2.CV_64F, ksize=1).var() < 2500
    assert 40 < before.mean() < 200
    size = (320, round(320 * before.shape[0] / before.shape[1]))
    small = [cv2.resize(view, size, interpolation=cv2.INTER_AREA) for view in (before, after)]
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    moved = np.linalg.norm(flow.calc(small[0], small[1], np.empty(0)), axis=-1).mean()
    assert 0.02 < moved / np.hypot(*size) / 0.08 < 0.5


# -- what is written ----------------------------------------------------------------------------


@pytest.mark.parametrize("film", SMALL, ids=[film.name for film in SMALL])
def test_the_truth_is_what_is_encoded(library: Path, film: Film) -> None:
    truth = film_truth(film)
    path = library / truth.file
    times, planes = decoded(path)
    assert len(planes) == truth.frame_count
    assert planes[0].shape == (truth.height, truth.width)
    time_base = DecodedFilm(path).info.time_base
    seconds = float((times[-1] - times[0]) * time_base)
    assert (len(times) - 1) / seconds == pytest.approx(truth.fps, rel=1e-3)
    assert (len(set(np.diff(times).tolist())) > 1) == truth.vfr


def test_ffprobe_counts_the_same_frames(library: Path) -> None:
    if shutil.which("ffprobe") is None:
        pytest.skip("ffprobe is not on PATH")
    for film in SMALL:
        truth = film_truth(film)
        command = [
            "ffprobe", "-v", "error", "-count_frames", "-select_streams", "v:0", "-show_entries",
            "stream=nb_read_frames,width,height,pix_fmt,codec_name", "-of", "json",
            str(library / truth.file),
        ]  # fmt: skip
        result = subprocess.run(command, capture_output=True, check=True, text=True)
        (stream,) = json.loads(result.stdout)["streams"]
        assert stream == {
            "codec_name": "h264",
            "width": truth.width,
            "height": truth.height,
            "pix_fmt": "yuv420p",
            "nb_read_frames": str(truth.frame_count),
        }


def test_the_picture_changes_at_the_cut_and_nowhere_in_the_still_shot(library: Path) -> None:
    truth = film_truth(STILL_AND_MOVING)
    _, planes = decoded(library / truth.file)
    change = np.asarray([np.abs(b - a).mean() for a, b in pairwise(planes)])
    (cut,), (flash,) = truth.hard_cuts, truth.not_cuts
    assert change[: cut - 1].max() < 1.0
    outside = [k for k in range(cut, len(change)) if not flash.start - 1 <= k < flash.end]
    assert change[cut - 1] > 2 * change[outside].max()
    assert planes[flash.start].mean() > 200
    assert planes[flash.end].mean() < 180


def test_truth_and_captions_lie_beside_the_films(library: Path) -> None:
    record = json.loads((library / TRUTH_FILE).read_text(encoding="utf-8"))
    assert record["licence"] == "CC0-1.0"
    for film, entry in zip(SMALL, record["films"], strict=True):
        sha256 = entry.pop("sha256")
        assert entry == json.loads(json.dumps(dataclasses.asdict(film_truth(film))))
        assert sha256 == hashlib.sha256((library / entry["file"]).read_bytes()).hexdigest()
    visible = {path.name for path in library.iterdir() if not path.name.startswith(".")}
    assert visible == {"short.mp4", "short.txt", "irregular.mp4", TRUTH_FILE, MANIFEST_FILE}
    caption = (library / "short.txt").read_text(encoding="utf-8")
    assert caption.strip() == STILL_AND_MOVING.caption


def test_the_manifest_brings_captions_and_licence_to_a_curation(library: Path) -> None:
    irregular, short = list_films([str(library / MANIFEST_FILE)])
    assert (irregular.path.name, irregular.caption) == ("irregular.mp4", None)
    assert (short.path.name, short.caption) == ("short.mp4", STILL_AND_MOVING.caption)
    assert {irregular.licence, short.licence} == {"CC0-1.0"}
    assert [film.path for film in list_films([str(library)])] == [irregular.path, short.path]


def test_the_same_bytes_come_out_of_one_process_and_of_two(library: Path, tmp_path: Path) -> None:
    render_library(tmp_path, 1, films=SMALL)
    for name in ("short.mp4", "irregular.mp4", "short.txt", TRUTH_FILE, MANIFEST_FILE):
        assert (tmp_path / name).read_bytes() == (library / name).read_bytes()


# -- making it again ----------------------------------------------------------------------------

TINY = tuple(
    Film(
        name,
        size=Size(64, 48),
        caption=f"The {name} film.",
        takes=(Take(table.still_life, 0.2, "still", "A still life."),),
    )
    for name in ("first", "second")
)


def stamps(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.mp4")}


def test_what_is_there_is_not_rendered_again(tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []
    render_library(tmp_path, 1, films=TINY, progress=lambda *news: told.append(news))
    assert [news[:2] for news in told] == [(1, 2), (2, 2)]
    made = stamps(tmp_path)
    render_library(tmp_path, 1, films=TINY, progress=lambda *news: told.append(news))
    assert stamps(tmp_path) == made
    assert {news[2] for news in told[2:]} == {"first", "second"}


def test_a_damaged_film_and_a_lost_caption_are_mended(tmp_path: Path) -> None:
    render_library(tmp_path, 1, films=TINY)
    whole = (tmp_path / "first.mp4").read_bytes()
    (tmp_path / "first.mp4").write_bytes(whole[:-100])
    (tmp_path / "second.txt").unlink()
    render_library(tmp_path, 1, films=TINY)
    assert (tmp_path / "first.mp4").read_bytes() == whole
    assert (tmp_path / "second.txt").read_text(encoding="utf-8") == "The second film.\n"


def test_films_of_a_former_version_are_replaced_and_others_left_alone(tmp_path: Path) -> None:
    render_library(tmp_path, 1, films=TINY)
    (tmp_path / "mine.mp4").write_bytes(b"not of the library")
    truth = json.loads((tmp_path / TRUTH_FILE).read_text(encoding="utf-8"))
    truth["version"] = "former"
    (tmp_path / TRUTH_FILE).write_text(json.dumps(truth), encoding="utf-8")
    before = stamps(tmp_path)
    render_library(tmp_path, 1, films=TINY[:1])
    after = stamps(tmp_path)
    assert set(after) == {"first.mp4", "mine.mp4"}
    assert after["first.mp4"] != before["first.mp4"]
    assert after["mine.mp4"] == before["mine.mp4"]
    assert not (tmp_path / "second.txt").exists()


def test_a_film_that_fails_leaves_the_finished_ones_and_no_trace(tmp_path: Path) -> None:
    odd = dataclasses.replace(TINY[1], name="odd", size=Size(63, 48))
    with pytest.raises(ValueError, match="even sides"):
        render_library(tmp_path, 1, films=(TINY[0], odd))
    truth = json.loads((tmp_path / TRUTH_FILE).read_text(encoding="utf-8"))
    assert [film["file"] for film in truth["films"]] == ["first.mp4"]
    assert {path.name for path in tmp_path.iterdir()} - {".lock"} == {
        "first.mp4", "first.txt", TRUTH_FILE, MANIFEST_FILE,
    }  # fmt: skip


def test_strangers_files_are_not_touched(tmp_path: Path) -> None:
    (tmp_path / "first.mp4").write_bytes(b"mine")
    with pytest.raises(ValueError, match="choose another folder"):
        render_library(tmp_path, 1, films=TINY)
    assert (tmp_path / "first.mp4").read_bytes() == b"mine"
    (tmp_path / TRUTH_FILE).write_text('{"answer": 42}', encoding="utf-8")
    with pytest.raises(ValueError, match="not the truth of a demo library"):
        render_library(tmp_path, 1, films=TINY)
    assert (tmp_path / TRUTH_FILE).read_text(encoding="utf-8") == '{"answer": 42}'


def test_without_a_worker_nothing_can_be_rendered(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="workers = 0"):
        render_library(tmp_path / "none", 0, films=TINY)
    assert not (tmp_path / "none").exists()


def test_truth_names_scenes_of_partials_too() -> None:
    names = {shot.scene for film in library_truth() for shot in film.shots}
    assert {"harbour", "skyline", "clock"} <= names
    assert isinstance(library_truth()[0], FilmTruth)
