"""Memory must not grow with the length of a film."""

import subprocess
import sys
from pathlib import Path

from tests.conftest import REPOSITORY
from tests.curation.video.media import ffmpeg

MEGABYTES = 16  # allowed between 20 s and 120 s; a leak of one frame in ten would take 27
DECODE = """
import sys
from pathlib import Path
from curation.pictures import cut_picture
from curation.video.film import Film
film = Film(Path(sys.argv[1]))
list(film.keyframes(12))
frames = 0
for frame in film.frames(threads=2):
    cut_picture(frame, film.info, film.info.whole, 256)
    frames += 1
# Not getrusage's peak: a child's is at least its parent's size when it was started.
status = Path("/proc/self/status").read_text().splitlines()
(peak,) = (int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
print(frames, peak // 1024)
"""


def peak_megabytes(film: Path, frames: int) -> int:
    """Peak memory of a process that decodes a film."""
    done = subprocess.run(
        [sys.executable, "-c", DECODE, str(film)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    counted, peak = map(int, done.stdout.split())
    assert counted == frames
    return peak


def test_a_long_film_takes_no_more_memory_than_a_short_one(tmp_path: Path) -> None:
    short, long = tmp_path / "short.mp4", tmp_path / "long.mp4"
    source = ("-f", "lavfi", "-i", "testsrc=size=320x240:rate=24:duration=20")
    ffmpeg(*source, "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", short)
    ffmpeg("-stream_loop", "5", "-i", short, "-c", "copy", long)
    assert peak_megabytes(long, 6 * 480) < peak_megabytes(short, 480) + MEGABYTES
