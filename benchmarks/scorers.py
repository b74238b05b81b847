"""How quick each scorer is beside decoding the same film once, on the CPU and on a GPU.

In interleaved runs on one 1080p film that is made here, scanned once beforehand:

* ``ffmpeg -f null``: decoding, and nothing done with the frames;
* the technical scorer over the film's evidence frames, in one thread;
* LAION's scorer over the same frames, loaded once: on the CPU in one thread, as the engine's
  workers have it, and on a GPU where there is one. Weights are random: they cost what the real
  ones cost, and nothing has to be fetched.

    python -m benchmarks.scorers --seconds 20 --runs 3 --model ViT-L-14-quickgelu
"""

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import open_clip
import torch
from safetensors.torch import save_file

from benchmarks.film import benchmark_film, film_seconds
from benchmarks.measure import Cost, interleaved, machine, timed_command
from curation.derive import DeriveConfig, derive_film
from curation.scan import ScanConfig, scan_film
from curation.scoring.film import FilmToScore, ScoreConfig, score_film
from curation.traces import Traces

FFMPEG = "ffmpeg -f null"


def scanned(film: Path, folder: Path) -> FilmToScore:
    """Leave the film's evidence in a folder; its clips are what is scored."""
    traces = folder / "traces"
    row = scan_film(
        film, traces, video_id="0" * 32, uri=film.name, run_id="benchmark", config=ScanConfig()
    )
    clips = derive_film(row, Traces(traces), DeriveConfig()).clips
    spans = tuple((clip.clip_id, clip.start_frame, clip.end_frame) for clip in clips)
    return FilmToScore(row.video_id, traces, spans)


def random_weights(model: str, folder: Path) -> tuple[Path, Path]:
    """Write a backbone and a head that have learnt nothing."""
    backbone, head = folder / "backbone.safetensors", folder / "head.pth"
    clip = open_clip.create_model(model)
    save_file({name: value.contiguous() for name, value in clip.state_dict().items()}, backbone)
    torch.save(torch.nn.Linear(clip.visual.output_dim, 1).state_dict(), head)
    return backbone, head


def timed(work: Callable[[], object]) -> Cost:
    """What a call in this process takes."""
    before, started = _cpu(), time.perf_counter()
    work()
    return Cost(time.perf_counter() - started, _cpu() - before)


def _cpu() -> float:
    times = os.times()
    return times.user + times.system


def contestants(
    film: Path, to_score: FilmToScore, folder: Path, model: str
) -> dict[str, Callable[[], Cost]]:
    """By name; what this machine does not have is left out, and said."""
    found: dict[str, Callable[[], Cost]] = {}
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg:
        decode = [ffmpeg, "-v", "error", "-i", str(film), "-f", "null", "-"]
        found[FFMPEG] = lambda: timed_command(decode, folder)
    else:
        print("ffmpeg is not installed: no figure for decoding")
    backbone, head = map(str, random_weights(model, folder))
    configs = {"technical, CPU": ScoreConfig(scorers=("technical",))}
    for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        name = f"laion ({model}), {'GPU, fp16' if device == 'cuda' else 'CPU, fp32'}"
        configs[name] = ScoreConfig(
            scorers=("laion",), model=model, backbone=backbone, head=head, device=device
        )
    if not torch.cuda.is_available():
        print("no GPU here: CPU figures only")
    for name, config in configs.items():
        (plan,) = config.plans(folder)
        started = time.perf_counter()
        scorer = plan.make()
        print(f"{name}: loaded in {time.perf_counter() - started:.1f} s")
        score_film(plan.batch, scorer, to_score)  # the first pass of a GPU compiles its kernels
        found[name] = partial(timed, partial(score_film, plan.batch, scorer, to_score))
    return found


def report(medians: dict[str, tuple[Cost, float]], clips: int, frames: int) -> None:
    """Print the table: clips a second, and each scorer's time as a share of decoding's."""
    decoding = medians[FFMPEG][0] if FFMPEG in medians else None
    width = max(map(len, medians))
    print(f"{'':{width}}{'wall s':>9}{'spread':>8}{'clips/s':>9}{'frames/s':>10}{'x decoding':>12}")
    for name, (cost, spread) in medians.items():
        share = f"{cost.wall / decoding.wall:12.3f}" if decoding else ""
        print(
            f"{name:{width}}{cost.wall:9.2f}{spread:8.0%}{clips / cost.wall:9.1f}"
            f"{frames / cost.wall:10.1f}{share}"
        )


def main() -> None:
    """Make the film, scan it, run, report."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--model", default="ViT-L-14-quickgelu", help="a name of open_clip's")
    parser.add_argument("--film", type=Path, help="a film of yours instead of the one made here")
    options = parser.parse_args()
    cv2.setNumThreads(1)  # as the engine's workers have it
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        film = options.film or benchmark_film(folder, options.seconds)
        to_score = scanned(film, folder)
        frames = sum(piece.num_rows for piece in Traces(to_score.traces).evidence_batches(64))
        print(
            f"film: {film_seconds(film):.0f} s, {len(to_score.clips)} clips, {frames} evidence "
            f"frames; {options.runs} interleaved runs, medians; frames/s are evidence frames"
        )
        print(f"machine: {machine()}")
        medians = interleaved(contestants(film, to_score, folder, options.model), options.runs)
        report(medians, len(to_score.clips), frames)


if __name__ == "__main__":
    main()
