"""`tempo generate` from words to a film: files, records, continuation, hostile input."""

import dataclasses
import json
import subprocess
import sys
import time
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
from tests.servers import dying_with_us

WIDTH, HEIGHT = 32, 16
KEPT = "[!.]*/*.safetensors"  # in the folder of nodes; what is being written begins with a dot


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


def words(checkpoint: Path, out: Path, *more: str, frames: int = 65) -> tuple[str, ...]:
    return (
        "generate", "--checkpoint", str(checkpoint), "--prompt", "a red ball", "--out", str(out),
        "--size", f"{WIDTH}x{HEIGHT}", "--frames", str(frames), "--steps", "2,2,2",
        "--guidance", "2", "--batch", "1", "--json", *more,
    )  # fmt: skip


def generate(checkpoint: Path, out: Path, *more: str, frames: int = 65) -> Ended:
    return tempo(*words(checkpoint, out, *more, frames=frames))


def warnings_of(dry: Ended) -> list[str]:
    assert dry.returncode == 0, dry.stderr
    told: list[str] = json.loads(dry.stdout.splitlines()[-1])["warnings"]
    return told


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
    (plan,) = record["plans"]
    assert plan["schedule"]["notation"] == "f(6,12,24)m(1,2,4)"
    assert torch.__version__.startswith(record["packages"]["torch"])
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


def test_a_killed_command_is_finished_by_ranks(checkpoint: Path, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole.mp4", tmp_path / "killed.mp4"
    nodes = out.with_suffix(".nodes")
    slow = ("--steps", "30,30,30")
    assert generate(checkpoint, whole, *slow).returncode == 0
    tempo_itself = [sys.executable, "-c", "from pipelines.cli import main; main()"]
    with subprocess.Popen(
        dying_with_us([*tempo_itself, *words(checkpoint, out, *slow)]), stdout=subprocess.DEVNULL
    ) as running:
        while len(list(nodes.glob(KEPT))) < 2:
            assert running.poll() is None
            time.sleep(0.001)
        running.kill()
    kept = {path: path.stat().st_mtime_ns for path in nodes.glob(KEPT)}
    assert not out.exists()
    assert 2 <= len(kept) < 7, "it was killed too late to show anything"
    done = generate(checkpoint, out, "--ranks", "2", *slow)
    assert done.returncode == 0, done.stderr
    assert out.read_bytes() == whole.read_bytes()
    assert kept == {path: path.stat().st_mtime_ns for path in kept}
    assert len(list(nodes.glob(KEPT))) == 7


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
        (("--batch", "0"), "batch=0"),
        (("--steps", "2,x,2"), "one for each level"),
        (("--steps", "2,0,2"), "step"),
        (("--steps", "-2,2,2"), "step"),
        (("--guidance", "nan"), "guidance=nan"),
        (("--shift", "0"), "shift=0.0"),
        (("--device", "banana"), "choose cpu or cuda"),
        (("--device", "meta"), "choose cpu or cuda"),
        (("--node-seed", "1/2.1=1"), "no round 1"),
        (("--node-seed", "x/2.1=1"), "ROUND/ID"),
        (("--nodes", __file__), "that is a file"),
        (("--prompt-cache", __file__), "that is a file"),
        (("--video", "nowhere.mp4"), "video=nowhere.mp4"),
        (("--lora", f"{__file__}=nan"), "1 is as trained"),
        (("--frames", "20", "--node-prompt", "2.3=a cat"), "never run"),
    ],
)
def test_hostile_input(
    checkpoint: Path, tmp_path: Path, more: tuple[str, ...], message: str
) -> None:
    done = generate(checkpoint, tmp_path / "x.mp4", *more)
    assert done.returncode == 1
    assert message in done.stderr.replace("\n", " ")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(checkpoint: Path, tmp_path: Path) -> None:
    done = generate(checkpoint, tmp_path / "x.mp4", "--device", "cuda", "--dry-run")
    assert done.returncode == 1
    assert "torch sees no GPU" in done.stderr


def test_what_was_given_is_not_written_over(checkpoint: Path, tmp_path: Path) -> None:
    picture, film = tmp_path / "fox.png", tmp_path / "film.mp4"
    Image.new("RGB", (32, 16)).save(picture)
    write_blinking(film, (WIDTH, HEIGHT), 24)
    before = {path: path.read_bytes() for path in (picture, film)}
    linked = tmp_path / "linked.mp4"
    linked.symlink_to(film)
    for out, more in (
        (tmp_path / "fox.mp4", ("--image", str(picture))),
        (film, ("--video", str(film))),
        (linked, ("--video", str(film), "--stream")),
    ):
        done = generate(checkpoint, out, *more)
        assert done.returncode == 1
        assert "would be written over" in done.stderr.replace("\n", " ")
    assert {path: path.read_bytes() for path in before} == before
    within = generate(checkpoint, checkpoint / "tempo.mp4")
    assert within.returncode == 1
    assert "no place for films" in within.stderr.replace("\n", " ")
    for option in ("--nodes", "--prompt-cache"):
        beside = generate(checkpoint, tmp_path / "x.mp4", option, str(checkpoint))
        assert beside.returncode == 1
        assert "no place for it" in beside.stderr.replace("\n", " ")
    (tmp_path / "folder.mp4").mkdir()
    done = generate(checkpoint, tmp_path / "folder.mp4")
    assert done.returncode == 1
    assert "is a folder" in done.stderr.replace("\n", " ")


def test_pictures_that_a_schedule_does_not_show(
    checkpoint: Path, picture: Path, tmp_path: Path
) -> None:
    def last_of(frames: int, *more: str) -> Ended:
        words = ("--last", str(picture), "--schedule", "f(6)m(1)", "--steps", "2", "--dry-run")
        return generate(checkpoint, tmp_path / "x.mp4", *words, *more, frames=frames)

    beyond = last_of(48)
    assert beyond.returncode == 1
    assert "would not be seen" in beyond.stderr.replace("\n", " ")
    (moved,) = warnings_of(last_of(46))
    assert "frame 45 is shown at frame 44" in moved
    assert warnings_of(last_of(49)) == []
    both = generate(
        checkpoint, tmp_path / "x.mp4", "--first", str(picture), "--last", str(picture), frames=1
    )
    assert both.returncode == 1
    assert "shows one picture" in both.stderr.replace("\n", " ")
    refused = last_of(46, "--strict")
    assert refused.returncode == 1
    assert "give frame 44" in refused.stderr.replace("\n", " ")


def test_a_dry_run_prices_all_that_is_run(checkpoint: Path, tmp_path: Path) -> None:
    def priced(*more: str, frames: int = 65) -> tuple[int, list[int]]:
        done = generate(checkpoint, tmp_path / "x.mp4", "--dry-run", *more, frames=frames)
        assert done.returncode == 0, done.stderr
        document = json.loads(done.stdout.splitlines()[-1])
        return document["operations"], [plan["frames"] for plan in document["plans"]]

    (alone, _), (all_levels, _) = priced("--guidance", "1"), priced("--guidance", "5")
    each = [priced("--guidance", scales)[0] for scales in ("5,1,1", "1,5,1", "1,1,5")]
    assert all_levels == 2 * alone
    assert sum(cost - alone for cost in each) == alone
    assert len(set(each)) > 1
    film = tmp_path / "film.mp4"
    write_blinking(film, (WIDTH, HEIGHT), 24)
    costs, lengths = zip(
        *(priced("--video", str(film), frames=n) for n in (480, 960, 1440)), strict=True
    )
    # 30 frames are there: 29 of them are given at first, 121 from then on.
    assert lengths == ([509], [509, 601], [509, 601, 601])
    assert costs[0] < costs[1] - costs[0] == costs[2] - costs[1]


def test_windows_beyond_those_of_training_are_told(tmp_path: Path) -> None:
    text = TextSpec("bytes", length=8, width=presets.tiny().text_dim)
    spec = GeneratorSpec(CodecSpec("dct"), text, window_cap=17)
    save_generator(tmp_path / "short", tiny_network(), spec)
    longer, fitting = (
        generate(tmp_path / "short", tmp_path / "x.mp4", "--dry-run", frames=frames)
        for frames in (129, 65)
    )
    told = warnings_of(longer)
    assert len(told) == 3  # of each level
    assert all("longer than the 17 that the network was trained on" in text for text in told)
    assert warnings_of(fitting) == []
    film = tmp_path / "film.mp4"  # whose later rounds have longer windows than its first
    write_blinking(film, (WIDTH, HEIGHT), 24)
    save_generator(tmp_path / "later", tiny_network(), dataclasses.replace(spec, window_cap=137))
    rounds = generate(
        tmp_path / "later", tmp_path / "x.mp4", "--dry-run", "--video", str(film), frames=1440
    )
    (one,) = warnings_of(rounds)
    assert one.startswith("round 1: windows of 153 frames at 6 fps are longer than the 137")


def test_a_node_is_one_however_it_is_written(checkpoint: Path, tmp_path: Path) -> None:
    film, out = tmp_path / "film.mp4", tmp_path / "longer.mp4"
    write_blinking(film, (WIDTH, HEIGHT), 24)
    changes = ("--node-prompt", "2.0=a cat", "--node-seed", "0/2.0=7", "--node-seed", "0/2.0=8")
    assert generate(checkpoint, out, "--video", str(film), *changes, frames=16).returncode == 0
    record = json.loads(out.with_suffix(".json").read_text())
    assert record["job"]["changes"] == [[0, "2.0", {"prompt": "a cat", "seed": 8}]]
    later = generate(
        checkpoint, out, "--video", str(film), "--node-seed", "1/2.9=3", "--dry-run", frames=960
    )
    assert later.returncode == 1
    assert "round 1: node='2.9'" in later.stderr.replace("\n", " ")


def test_pictures_fill_the_frame(tmp_path: Path) -> None:
    path = tmp_path / "halves.png"
    halves = Image.new("RGB", (400, 100), (0, 0, 0))
    halves.paste((255, 255, 255), (200, 0, 400, 100))
    halves.save(path)
    filled = load_picture(path, WIDTH, HEIGHT)
    assert filled.shape == (3, HEIGHT, WIDTH)
    assert filled[:, :, :8].max() == -1
    assert filled[:, :, -8:].min() == 1


def test_sixteen_bits_of_grey_keep_their_greys(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, WIDTH).round().astype(np.uint16)
    expected = torch.from_numpy(ramp.astype(np.float32)) / 32767.5 - 1
    rows = np.tile(ramp, (HEIGHT, 1))
    header = f"P5 {WIDTH} {HEIGHT} 65535\n".encode()
    (tmp_path / "ramp.pgm").write_bytes(header + rows.astype(">u2").tobytes())
    assert (load_picture(tmp_path / "ramp.pgm", WIDTH, HEIGHT) - expected).abs().max() <= 1 / 255
    for name, stored in (
        ("ramp.png", rows),
        ("ramp.tif", rows),
        ("ramp_big.tif", rows.astype(">u2")),
    ):
        Image.fromarray(stored).save(tmp_path / name)
        shown = load_picture(tmp_path / name, WIDTH, HEIGHT)
        assert (shown - expected).abs().max() <= 1 / 255, name


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_numbers_without_a_range_are_refused(tmp_path: Path, dtype: type[np.generic]) -> None:
    Image.fromarray(np.full((HEIGHT, WIDTH), 0.5, dtype)).save(tmp_path / "wide.tif")
    with pytest.raises(ValueError, match=r"wide\.tif.*save it with 8 or 16 bits"):
        load_picture(tmp_path / "wide.tif", WIDTH, HEIGHT)


def test_what_is_transparent_is_black(tmp_path: Path) -> None:
    red = Image.new("RGBA", (WIDTH, HEIGHT), (255, 0, 0, 255))
    red.paste((255, 0, 0, 0), (0, 0, WIDTH // 2, HEIGHT))
    red.paste((255, 0, 0, 51), (0, 0, WIDTH // 4, HEIGHT))
    red.save(tmp_path / "red.png")
    fifth, nothing, full = (
        load_picture(tmp_path / "red.png", WIDTH, HEIGHT)[:, 8, at] for at in (2, 12, 28)
    )
    assert nothing.tolist() == [-1, -1, -1]
    assert full.tolist() == [1, -1, -1]
    assert fifth.tolist() == pytest.approx([51 / 127.5 - 1, -1, -1])
    palette = Image.new("P", (WIDTH, HEIGHT), 1)
    palette.putpalette([0, 255, 0, 255, 255, 255])
    palette.paste(0, (0, 0, WIDTH // 2, HEIGHT))
    palette.save(tmp_path / "palette.png", transparency=0)
    shown = load_picture(tmp_path / "palette.png", WIDTH, HEIGHT)
    assert shown[:, 8, 4].tolist() == [-1, -1, -1]
    assert shown[:, 8, 28].tolist() == [1, 1, 1]


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
