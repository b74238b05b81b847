"""`tempo generate` from words to a film: files, records, continuation, hostile input."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from curation.video.encode import FilmWriter
from curation.video.film import Film
from model import presets
from model.generator_folder import CodecSpec, GeneratorSpec, TextSpec, save_generator
from pipelines.pictures import ContactSheet, last_frames, load_picture, to_pictures, to_tensor
from tests.model.tiny import tiny_network
from tests.pipelines.test_cli import Ended, tempo

WIDTH, HEIGHT = 32, 16


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("checkpoint")
    text = TextSpec("bytes", length=8, width=presets.tiny().text_dim)
    save_generator(folder, tiny_network(), GeneratorSpec(CodecSpec("dct"), text))
    return folder


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "red.png"
    Image.new("RGB", (300, 100), (200, 40, 20)).save(path)
    return path


def generate(checkpoint: Path, out: Path, *more: str, frames: int = 65) -> Ended:
    return tempo(
        "generate", "--checkpoint", str(checkpoint), "--prompt", "a red ball", "--out", str(out),
        "--size", f"{WIDTH}x{HEIGHT}", "--frames", str(frames), "--steps", "2,2,2",
        "--guidance", "2", "--batch", "1", "--json", *more,
    )  # fmt: skip


def decoded(path: Path) -> list[bytes]:
    return [
        b"".join(plane.tobytes() for plane in frame.planes())
        for frame in Film(path).frames(threads=1)
    ]


def write_blinking(path: Path, size: tuple[int, int], fps: int) -> None:
    """30 frames of noise that changes every ten."""
    noise = np.random.default_rng(0).integers(0, 256, (3, size[1], size[0], 3), dtype=np.uint8)
    with FilmWriter(path, *size, fps=Fraction(fps)) as writer:
        for picture in np.repeat(noise, 10, axis=0):
            writer.write_rgb(picture)


@pytest.fixture(scope="module")
def made(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "plain.mp4"
    done = generate(checkpoint, out)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout.splitlines()[-1])
    assert document["frames"] == 65
    assert {Path(document[name]) for name in ("video", "sheet", "record")} == {
        out.with_suffix(suffix) for suffix in (".mp4", ".png", ".json")
    }
    return out


def test_film_sheet_and_record(made: Path) -> None:
    assert len(decoded(made)) == 65
    info = Film(made).info
    assert (info.coded_width, info.coded_height, info.nominal_fps) == (WIDTH, HEIGHT, 24)
    with Image.open(made.with_suffix(".png")) as sheet:
        assert sheet.size == (6 * WIDTH, 4 * HEIGHT)
    record = json.loads(made.with_suffix(".json").read_text())
    assert record["job"]["seed"] == 0
    assert record["plan"]["schedule"]["notation"] == "f(6,12,24)m(1,2,4)"
    assert [joint["frame"] for joint in record["made"]["joints"]] == [17, 33, 49]
    assert not list(made.parent.glob(".*"))


def test_a_stream_is_the_same_film(checkpoint: Path, made: Path, tmp_path: Path) -> None:
    out = tmp_path / "stream.mp4"
    assert generate(checkpoint, out, "--stream").returncode == 0
    assert decoded(out) == decoded(made)
    # In fragments: what is there can be read before the rest is.
    assert b"moof" in out.read_bytes()
    assert b"moof" not in made.read_bytes()


def test_again_is_the_same_file(checkpoint: Path, made: Path, tmp_path: Path) -> None:
    out, nodes = tmp_path / "again.mp4", made.with_suffix(".nodes")
    assert generate(checkpoint, out, "--nodes", str(nodes)).returncode == 0
    assert out.read_bytes() == made.read_bytes()
    other = generate(checkpoint, out, "--nodes", str(nodes), "--node-seed", "2.3=9")
    assert other.returncode == 0
    assert [a == b for a, b in zip(decoded(out), decoded(made), strict=True)].index(False) >= 40


def test_two_ranks_make_the_same_film(checkpoint: Path, made: Path, tmp_path: Path) -> None:
    out = tmp_path / "ranks.mp4"
    done = generate(checkpoint, out, "--ranks", "2")
    assert done.returncode == 0, done.stderr
    assert out.read_bytes() == made.read_bytes()


def test_given_pictures_are_pasted(checkpoint: Path, picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "pasted.mp4"
    done = generate(
        checkpoint, out, "--first", str(picture), "--last", str(picture), "--paste-given",
        "--schedule", "f(24)m(1)", "--steps", "2", frames=9,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    shown, _ = last_frames(Film(out), WIDTH, HEIGHT, 9)
    expected = load_picture(picture, WIDTH, HEIGHT)
    distance = (shown - expected[:, None]).abs().mean(dim=(0, 2, 3))
    assert distance[0] < 0.05
    assert distance[-1] < 0.05
    assert distance[1:-1].min() > 0.1


def test_a_film_is_continued(checkpoint: Path, tmp_path: Path) -> None:
    film, out = tmp_path / "film.mp4", tmp_path / "longer.mp4"
    write_blinking(film, (WIDTH, HEIGHT), 24)
    done = generate(checkpoint, out, "--video", str(film), frames=32)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout.splitlines()[-1])
    assert document["not_carried"] is None
    assert document["frames"] == 62
    assert document["joints"][0]["frame"] == 30
    stored, longer = ([bytes(p) for p in Film(path).packets()] for path in (film, out))
    assert longer[:30] == stored  # not a bit of what was given is coded anew
    assert len(longer) == 62
    assert decoded(out)[:30] == decoded(film)
    with Image.open(out.with_suffix(".png")) as sheet:
        assert sheet.size == (6 * WIDTH, 4 * HEIGHT)


def test_a_film_of_another_kind_is_continued_in_a_film_of_its_own(
    checkpoint: Path, tmp_path: Path
) -> None:
    film, out = tmp_path / "film.mp4", tmp_path / "longer.mp4"
    write_blinking(film, (2 * WIDTH, HEIGHT), 25)
    done = generate(checkpoint, out, "--video", str(film), frames=16)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout.splitlines()[-1])
    assert "64x16" in document["not_carried"]
    assert document["frames"] == len(decoded(out)) == 16
    assert document["joints"][0]["frame"] == 0  # between the two films


def test_a_dry_run_makes_nothing(checkpoint: Path, tmp_path: Path) -> None:
    done = generate(checkpoint, tmp_path / "x.mp4", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["operations"] > 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--checkpoint", "nowhere"), "no such folder"),
        (("--size", "100x100"), "multiple of 16"),
        (("--size", "large"), "832x480"),
        (("--image", "nowhere.png"), "cannot be read"),
        (("--image", __file__), "cannot be read"),
        (("--video", __file__), "not_a_video"),
        (("--lora", "nowhere.safetensors"), "no such file"),
        (("--schedule", "f(6,9)m(1,2)"), "higher multiple"),
        (("--guidance", "5,5"), "one for each of the 3 levels"),
        (("--node-seed", "9.9=1"), "9.9"),
        (("--node-prompt", "2.1"), "ID=VALUE"),
        (("--frames", "0"), "frames=0"),
        (("--solver", "magic"), "magic"),
    ],
)
def test_hostile_input(
    checkpoint: Path, tmp_path: Path, more: tuple[str, ...], message: str
) -> None:
    done = generate(checkpoint, tmp_path / "x.mp4", *more)
    assert done.returncode == 1
    assert message in done.stderr.replace("\n", " ")
    assert not list(tmp_path.iterdir())


def test_pictures_fill_the_frame(tmp_path: Path) -> None:
    path = tmp_path / "halves.png"
    halves = Image.new("RGB", (400, 100), (0, 0, 0))
    halves.paste((255, 255, 255), (200, 0, 400, 100))
    halves.save(path)
    filled = load_picture(path, WIDTH, HEIGHT)
    assert filled.shape == (3, HEIGHT, WIDTH)
    assert filled[:, :, :8].max() == -1
    assert filled[:, :, -8:].min() == 1


def test_eight_bits_there_and_back() -> None:
    frames = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    (back,) = to_pictures(to_tensor(frames))
    assert np.array_equal(back, frames[0])


def test_sheets_show_first_and_last(tmp_path: Path) -> None:
    sheet = ContactSheet(100, 24)
    for index in range(100):
        sheet.show(index, np.full((HEIGHT, WIDTH, 3), index, np.uint8))
    sheet.save(tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as page:
        assert page.getpixel((WIDTH - 1, HEIGHT - 1)) == (0, 0, 0)
        assert page.getpixel((page.width - 1, page.height - 1)) == (99, 99, 99)
