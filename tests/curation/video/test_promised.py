"""Films that end before their container says that they do."""

import json
from pathlib import Path

import av
import pytest

from curation.records import VideoRow
from curation.scan import ScanConfig, scan_film
from curation.video.film import Film
from tests.curation.video.media import RECIPES, Library, ffmpeg

# One of each container that says where it ends, and what "-c copy" puts in the others.
PROMISING = (
    "fragmented.mp4", "h264_open.mkv", "vfr.mkv", "early.mkv", "vp9.webm", "mpeg4.avi",
    "mpeg4_packed.avi", "h264.avi", "h264.flv", "wmv2.asf", "theora.ogv",
)  # fmt: skip


def scanned(film: Path, folder: Path) -> VideoRow:
    """The row that a scan makes of a film."""
    return scan_film(
        film, folder / "traces", video_id="0" * 32, uri="", run_id="", config=ScanConfig()
    )


def packet_ends(film: Path) -> list[int]:
    """Where the coded frames end in the file: cut there, no frame is damaged."""
    with av.open(film) as container:
        stream = container.streams.video[0]
        return sorted({p.pos + p.size for p in container.demux(stream) if p.size and p.pos})


@pytest.mark.parametrize("name", RECIPES)
def test_whole_films_keep_their_promises(name: str, library: Library, tmp_path: Path) -> None:
    row = scanned(library[name], tmp_path)
    assert (row.status, row.reason) == ("ok", None)


@pytest.mark.parametrize("name", PROMISING)
def test_wherever_a_film_is_cut_off_it_is_partial(
    name: str, library: Library, tmp_path: Path
) -> None:
    data, ends = library[name].read_bytes(), packet_ends(library[name])
    behind_frames = [ends[len(ends) * part // 10] for part in (4, 9)]
    anywhere = [len(data) * part // 100 for part in (35, 62, 97)]
    for length in behind_frames + anywhere:
        cut = tmp_path / name
        cut.write_bytes(data[:length])
        row = scanned(cut, tmp_path)
        assert row.status == "partial", (length, row.frame_count)


def test_an_mp4_with_its_index_in_front(library: Library, tmp_path: Path) -> None:
    film = tmp_path / "fast.mp4"
    ffmpeg("-i", library["h264.mp4"], "-c", "copy", "-movflags", "+faststart", film)
    assert scanned(film, tmp_path).status == "ok"
    data, ends = film.read_bytes(), packet_ends(film)
    for length in (ends[30], ends[-2], ends[-1] - 1):
        film.write_bytes(data[:length])
        assert scanned(film, tmp_path).status == "partial"


@pytest.mark.parametrize("name", ["mpeg2.ts", "hevc_open.ts"])
def test_a_transport_stream_shows_a_packet_cut_in_two_and_nothing_else(
    name: str, library: Library, tmp_path: Path
) -> None:
    data, cut = library[name].read_bytes(), tmp_path / name
    packets = len(data) // 188
    for part in (3, 6, 9):
        cut.write_bytes(data[: packets * part // 10 * 188 + 100])
        assert scanned(cut, tmp_path).status == "partial"
        assert Film(cut).info.truncated
        cut.write_bytes(data[: packets * part // 10 * 188])
        assert not Film(cut).info.truncated


def test_a_film_that_was_streamed_promises_nothing(library: Library, tmp_path: Path) -> None:
    """A recorder that cannot seek back leaves sizes and durations open."""
    live = tmp_path / "live.mkv"
    ffmpeg("-i", library["h264.mp4"], "-c", "copy", "-live", "1", "-f", "matroska", live)
    info = Film(live).info
    assert (info.declared_end, info.truncated) == (None, False)
    assert scanned(live, tmp_path).status == "ok"


def test_sound_may_outlast_the_picture(library: Library, tmp_path: Path) -> None:
    for suffix in (".mkv", ".avi", ".flv", ".mp4"):
        film = tmp_path / f"sound{suffix}"
        tone = ("-f", "lavfi", "-i", "sine=duration=6:sample_rate=44100")
        ffmpeg("-i", library["h264.mp4"], *tone, "-c:v", "copy", "-c:a", "mp3", film)
        assert scanned(film, tmp_path).status == "ok", suffix


def test_statistics_of_another_film_are_not_believed(library: Library, tmp_path: Path) -> None:
    film = tmp_path / "clip.mkv"
    stale = ("-metadata:s:v:0", "DURATION-eng=01:30:00.000000000")
    ffmpeg("-i", library["h264.mp4"], "-c", "copy", *stale, film)
    with av.open(film) as container:
        assert container.streams.video[0].metadata["DURATION-eng"].startswith("01:30")
    assert scanned(film, tmp_path).status == "ok"


def test_real_films_are_partial_where_their_manifest_says_so(
    films_dir: Path, tmp_path: Path
) -> None:
    entries = json.loads((films_dir / "manifest.json").read_text())
    films = [entry for entry in entries if entry.get("decoded_frames")]
    for entry in films:
        info = Film(films_dir / entry["file"]).info
        assert info.truncated == ("trunc" in entry["file"]), entry["file"]
    # What can be judged without the two minutes that all of them take: those that name an end.
    for entry in films:
        if Path(entry["file"]).suffix in (".mkv", ".webm", ".avi"):
            row = scanned(films_dir / entry["file"], tmp_path)
            assert (row.status, row.reason) == ("ok", None), entry["file"]
