"""All the real films in one run: what is right about them was checked by eye, not by this code."""

import json
import tarfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from scenedetect import ContentDetector, detect

from curation.catalog.store import Catalog
from curation.records import VideoRow
from pipelines.curate import CurateRequest, curate
from pipelines.engine import LocalEngine
from pipelines.inputs import list_films
from pipelines.job import Silence
from pipelines.recipes.curation import curate_offline
from pipelines.settings import Home, with_overrides
from pipelines.summary import Summary

# Nearly everything is packed, so that as many clips as possible are checked.
KEEP_ALMOST_ALL = [
    *(f"select.{name}.min=none" for name in ("clarity", "luma", "contrast", "motion", "fps")),
    *(f"select.{name}.max=none" for name in ("clarity", "luma", "motion", "static", "duplicated")),
    "select.distortion.max=none",
    "select.coherence.min=none",
    "select.technical.min=none",
    "duplicates.remove=false",
    "select.short_side.min=none",
    "select.seconds.min=1",
    "select.seconds.max=14",  # the long slides and CCTV films would only cost time
    # Frames are checked here, which are told apart at 64x48, not how well they are coded.
    "pack.encode.preset=ultrafast",
    "pack.short_side=240",
]
SLACK = {"cosmos_sintel_30s.mp4": 3}
UNCROPPED = (
    *("skv_bikes.mp4", "dj_cartoon_video1.mp4", "tc_nasa_13013.mp4"),
    *("psd_goldeneye_vfr_drop3.mp4", "psd_issue195_aspect.mp4"),
)
"""Films without borders that sequences are made of: whole pictures of theirs are packed."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def summary(films_dir: Path, home: Home) -> Summary:
    config = with_overrides(curate_offline(), KEEP_ALMOST_ALL)
    request = CurateRequest(list_films([str(films_dir)]), "real", config)
    return curate(request, home, LocalEngine(2), Silence())


@pytest.fixture(scope="module")
def films(films_dir: Path) -> dict[str, dict[str, Any]]:
    entries = json.loads((films_dir / "manifest.json").read_text())
    return {entry["file"]: entry for entry in entries}


@pytest.fixture(scope="module")
def rows(summary: Summary, home: Home) -> dict[str, VideoRow]:
    assert summary.dataset is not None
    with Catalog.open(home.catalog()) as catalog:
        return {Path(row.uri).name: row for row in catalog.rows(VideoRow)}


def test_only_what_holds_no_video_is_quarantined(rows: dict[str, VideoRow]) -> None:
    assert {name: row.reason for name, row in rows.items() if row.status == "quarantined"} == {
        "dj_audio_only.mp4": "no_video_stream",
        "derived_bikes_trunc_nomoov.mp4": "not_a_video",
    }
    partial = {name for name, row in rows.items() if row.status == "partial"}
    assert partial == {"decord_corrupted.mp4", "derived_dog_trunc60.mp4"}


def test_every_film_gives_its_frames_in_one_decode(
    rows: dict[str, VideoRow], films: dict[str, dict[str, Any]]
) -> None:
    for name, row in rows.items():
        if row.status != "quarantined":
            assert (name, row.frame_count) == (name, films[name]["decoded_frames"])
            assert (name, row.decodes) == (name, 1)
            assert row.fps == pytest.approx(films[name]["fps"], rel=0.03), name


def test_films_stand_right_side_up(rows: dict[str, VideoRow]) -> None:
    shown = {name: (row.width, row.height) for name, row in rows.items()}
    assert shown["psd_issue134_rotate.mp4"] == (544, 1280)
    assert shown["decord_rot90.mov"] == (320, 568)
    assert shown["psd_issue195_aspect.mp4"] == (1024, 576)
    assert shown["dj_portrait_video3.mp4"] == (362, 640)
    # The first video stream that is not a cover, where FFmpeg itself would pick the larger one.
    assert shown["tc_nasa_13013.mp4"] == (320, 180)


def test_copies_of_a_film_are_one_group_and_no_other_films_are(
    summary: Summary, home: Home, rows: dict[str, VideoRow]
) -> None:
    named = {row.video_id: name for name, row in rows.items()}
    groups = [{named[video_id] for video_id in group} for group in summary.refined.film_groups]
    # Not among them: psd_issue134_rotate.mp4, which shows psd_goldeneye_vfr_drop3.mp4 on its side,
    # and two films of the same test pattern, whose counters differ.
    assert sorted(groups, key=sorted) == [
        {"derived_bikes_vp9.webm", "skv_bikes.mp4"},
        {"derived_dog_trunc60.mp4", "tc_dog_eating.mp4"},
        {"derived_issue195_hevc10.mp4", "psd_issue195_aspect.mp4"},
        {"dvr_traffic_camera.mp4", "dvr_traffic_camera_vfr.mp4"},
    ]
    for group in groups:
        assert len({split for name in group for split in splits(home, rows[name].video_id)}) <= 1


def splits(home: Home, video_id: str) -> list[str]:
    with Catalog.open(home.catalog()) as catalog:
        read = catalog.read("samples", {"video_id": video_id}, ["split"])
    return [row["split"] for row in read.to_pylist()]


def documents(home: Home) -> list[dict[str, Any]]:
    found = []
    for tar in sorted((home.datasets / "real" / "1").glob("*.tar")):
        with tarfile.open(tar) as archive:
            jsons = [member for member in archive if member.name.endswith(".json")]
            found += [read_json(archive, member) for member in jsons]
    return found


def read_json(archive: tarfile.TarFile, member: tarfile.TarInfo) -> dict[str, Any]:
    stream = archive.extractfile(member)
    assert stream is not None
    document: dict[str, Any] = json.loads(stream.read())
    return document


def test_no_frame_of_a_neighbouring_shot_is_in_a_sample(
    summary: Summary, home: Home, films: dict[str, dict[str, Any]]
) -> None:
    assert summary.dataset is not None
    checked = 0
    for document in documents(home):
        for shot in document["shots"]:
            name = Path(shot["source"]["uri"]).name
            film = films[name]
            if not film["cuts_verified"]:
                continue
            checked += 1
            frames = shot["source"]["frames"]
            first, last = frames[0], frames[-1]
            cuts = [
                cut
                for cut, kind in zip(film["cuts"], film["cut_type"], strict=True)
                if kind.startswith("hard")
            ]
            assert not [cut for cut in cuts if first < cut <= last], (name, first, last)
            slack = SLACK.get(name, 0)
            inside = [
                (ramp["start"], ramp["end"])
                for ramp in film["gradual"]
                if first <= ramp["end"] - slack and last >= ramp["start"] + slack
            ]
            assert not inside, (name, first, last)
    assert checked >= 30


def test_lengths_are_those_of_the_source_spans(summary: Summary, home: Home) -> None:
    assert summary.dataset is not None
    for document in documents(home):
        for shot in document["shots"]:
            seconds = (shot["end_frame"] - shot["start_frame"]) / 24
            assert -1e-6 <= seconds - shot["source"]["seconds"] < 1 / 24 + 1e-6


def sequences(home: Home, folder: Path) -> dict[str, tuple[Path, dict[str, Any]]]:
    """Film -> the video of a multi-shot sample of it, as a file, and what its JSON declares."""
    found = {}
    for tar in sorted((home.datasets / "real" / "1").glob("*.tar")):
        with tarfile.open(tar) as archive:
            for member in archive:
                document = read_json(archive, member) if member.name.endswith(".json") else {}
                if document.get("kind") == "multi":
                    name = Path(document["shots"][0]["source"]["uri"]).name
                    video = archive.extractfile(f"{document['sample_id']}.mp4")
                    assert video is not None
                    target = folder / f"{document['sample_id']}.mp4"
                    target.write_bytes(video.read())
                    found[name] = (target, document)
    return found


def small_luma(film: Path) -> list[npt.NDArray[np.uint8]]:
    """All frames of a film, small and grey, by OpenCV."""
    capture = cv2.VideoCapture(str(film))
    frames: list[npt.NDArray[np.uint8]] = []
    while True:
        there_is, frame = capture.read()
        if not there_is:
            return frames
        grey = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
        small = cv2.resize(grey, (64, 48), interpolation=cv2.INTER_AREA)
        frames.append(np.asarray(small, np.uint8))


def test_sequences_are_cut_where_they_say_and_show_the_frames_they_name(
    summary: Summary, home: Home, films_dir: Path, tmp_path: Path
) -> None:
    assert summary.dataset is not None
    assert summary.dataset.multi_samples >= 10
    made = sequences(home, tmp_path)
    for name in UNCROPPED:
        packed, document = made[name]
        begins = [shot["start_frame"] for shot in document["shots"]]
        scenes = detect(str(packed), ContentDetector(min_scene_len=0))
        assert [start.frame_num for start, _ in scenes] == begins, name
        shown, source = small_luma(packed), small_luma(films_dir / name)
        assert len(shown) == document["frame_count"]
        for shot in document["shots"]:
            frames = shot["source"]["frames"]
            edges = {shot["start_frame"]: frames[0], shot["end_frame"] - 1: frames[-1]}
            for at, declared in edges.items():
                away = [float(np.mean(cv2.absdiff(shown[at], frame))) for frame in source]
                # Still pictures differ by the encoders' noise alone.
                assert away[declared] <= min(away) + 0.05, (name, at)
                assert away[declared] < 2.0, (name, at)
