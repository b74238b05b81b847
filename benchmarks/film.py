"""The film that benchmarks work on: 1080p, 8-bit 4:2:0 H.264, made here so that anyone can repeat.

Its shots are scenes of the demo library, painted at a third of the size, enlarged, and given film
grain: enlarging leaves a picture smoother than any camera's, which would decode too quickly. The
grain is the one thing here that is not natural, and it decides the bit rate.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from pipelines.demo.canvas import Scene, Size
from pipelines.demo.scenes import coast, farm, fish, sky, table, town, works

U8 = npt.NDArray[np.uint8]

WIDTH, HEIGHT, RATE = 1920, 1080, 24
PAINTED_SECONDS = 20.0
SHOT_SECONDS = 2.5
CODING = {"preset": "medium", "crf": "20"}
_PAINTED = Size(640, 360)
_SCENES: tuple[Scene, ...] = (
    *(town.train, sky.planet, farm.fields, fish.koi),
    *(works.gears, coast.lighthouse, farm.windmills, table.balls),
)
_GRAIN_LEVELS, _GRAIN_FIELDS = 2.0, 16


def benchmark_film(folder: Path, seconds: float) -> Path:
    """Make a film of about `seconds` in a folder.

    At most `PAINTED_SECONDS` are painted and encoded, which takes a minute or two; a longer film
    shows them again and again. To a decoder and to the scan that makes no difference.
    """
    painted = folder / "painted.mp4"
    make_film(painted, min(seconds, PAINTED_SECONDS))
    times = round(seconds / PAINTED_SECONDS)
    if times <= 1:
        return painted
    film = folder / "film.mp4"
    repeat_film(painted, film, times)
    return film


def make_film(target: Path, seconds: float) -> None:
    """Paint and encode a film with a hard cut every `SHOT_SECONDS`."""
    with av.open(str(target), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=RATE, options=CODING)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for picture in _pictures(round(seconds * RATE)):
            container.mux(stream.encode(VideoFrame.from_ndarray(picture, format="yuv420p")))
        container.mux(stream.encode(None))


def repeat_film(source: Path, target: Path, times: int) -> None:
    """Write a film that shows `source` several times over, without coding anything anew."""
    with av.open(str(target), "w", format="mp4") as container:
        stream = None
        for number in range(times):
            with av.open(str(source)) as film:
                taken = film.streams.video[0]
                stream = stream or container.add_stream_from_template(taken)
                assert taken.duration is not None
                for packet in film.demux(taken):
                    if packet.dts is None or packet.pts is None:
                        continue
                    packet.pts += number * taken.duration
                    packet.dts += number * taken.duration
                    packet.stream = stream
                    container.mux(packet)


def film_seconds(path: Path) -> float:
    """A film's length by its container."""
    with av.open(str(path)) as container:
        assert container.duration is not None
        return container.duration / av.time_base


def _pictures(count: int) -> Iterator[U8]:
    """Frames [H * 3 / 2, W]: the planes of 4:2:0, one below the other."""
    random = np.random.default_rng(1)
    grain = random.normal(0.0, _GRAIN_LEVELS, (_GRAIN_FIELDS, HEIGHT, WIDTH)).astype(np.int8)
    for picture in itertools.islice(_shots(random), count):
        large = cv2.resize(picture, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        planes = cast("U8", cv2.cvtColor(large, cv2.COLOR_RGB2YUV_I420))
        field = np.roll(grain[random.integers(_GRAIN_FIELDS)], int(random.integers(HEIGHT)), axis=0)
        planes[:HEIGHT] = cv2.add(planes[:HEIGHT], field, dtype=cv2.CV_8U)
        yield planes


def _shots(random: np.random.Generator) -> Iterator[U8]:
    """Shot after shot, without end."""
    for scene in itertools.cycle(_SCENES):
        paint = scene(_PAINTED, random)
        for frame in range(round(SHOT_SECONDS * RATE)):
            yield paint(frame / RATE)
