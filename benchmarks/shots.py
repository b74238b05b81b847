"""How well shots are found in hand-verified films, with PySceneDetect's detectors beside ours.

    python -m benchmarks.shots [--films DIR] [--only FILE ...] [--transnet FILE] [--verbose]

DIR holds films and a ``manifest.json``: a list of objects with ``file``, ``cuts`` and ``cut_type``
(first frame of each new shot; only types that start with "hard" are hard cuts), ``gradual``
(``start`` and ``end``, inclusive), ``cuts_verified`` and ``notes`` (a note "gradual limits +-N
frames" gives every end of that film's transitions N frames of slack). Scored are the films whose
cuts are verified, and those that list gradual transitions. Each film is decoded once; all detectors
see the same pictures, those of the scan.

What counts:

* A hard cut is found by a reported cut within one frame; one report finds one cut.
* A gradual transition is found by a reported range with an intersection over union of at least 0.5;
  one report finds one transition.
* A report that finds nothing but touches a verified transition that nothing else has found is
  "touching": right about where, wrong about what. One per transition.
* Every other report is a false boundary, and a false cut where it was reported as a cut.
* A leak is a shot, after trimming, whose first and last frame do not lie in one verified shot.

PySceneDetect's detectors report points, never ranges, so that a fade or dissolve can at best be
touched by them. They run with their defaults, and two of them also with ``min_scene_len=0`` ("any
length"); their cuts are taken as they report them. With ``--transnet`` there is a row more: ours
with what that network adds (`curation.measure.shots.transnet`).
"""

import argparse
import dataclasses
import itertools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scenedetect import AdaptiveDetector, ContentDetector, FrameTimecode, ThresholdDetector
from scenedetect.detector import SceneDetector

from curation.measure.shots.find import ShotConfig, find_shots, trim_blurred_edges
from curation.measure.shots.trace import FRAME_TRACE_SCHEMA, FrameTracer, ShotTrace
from curation.measure.shots.transnet import TransitionMeter, TransNetConfig
from curation.pictures import cut_picture
from curation.scan import ScanConfig, probe_borders
from curation.video.film import Film

U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]
Span = tuple[int, int]
Real = TypeVar("Real")
Told = TypeVar("Told")

FILMS = Path(__file__).resolve().parent.parent.parent / "shared" / "videos"
NEAR = 1  # frames between a cut and its report
OVERLAP = 0.5  # least intersection over union of a transition and its report
OURS = "tempomaster"
BOTH = "  with TransNetV2"
PEERS: dict[str, Callable[[], SceneDetector]] = {
    "AdaptiveDetector": AdaptiveDetector,
    "Adaptive, any length": lambda: AdaptiveDetector(min_scene_len=0),
    "ContentDetector": ContentDetector,
    "Content, any length": lambda: ContentDetector(min_scene_len=0),
    "ThresholdDetector": ThresholdDetector,
}


@dataclasses.dataclass(frozen=True, slots=True)
class Truth:
    """What was verified by hand about one film."""

    file: str
    cuts: tuple[int, ...]
    gradual: tuple[Span, ...]
    """Half-open."""
    slack: int
    """Frames by which the ends of a gradual transition may be off."""
    verified: bool
    fps: float

    @classmethod
    def from_entry(cls, entry: dict[str, Any]) -> "Truth":
        """Read an entry of the manifest."""
        kinds = zip(entry.get("cuts") or [], entry.get("cut_type") or [], strict=True)
        slack = re.search(r"gradual limits \+-(\d+) frames", entry.get("notes") or "")
        return cls(
            file=entry["file"],
            cuts=tuple(frame for frame, kind in kinds if kind.startswith("hard")),
            gradual=tuple((g["start"], g["end"] + 1) for g in entry.get("gradual") or []),
            slack=int(slack[1]) if slack else 0,
            verified=bool(entry.get("cuts_verified")),
            fps=float(entry.get("fps") or 24.0),
        )

    @property
    def scored(self) -> bool:
        """True where every boundary of the film is known."""
        return self.verified or bool(self.gradual)

    def same_shot(self, first: int, last: int) -> bool:
        """True when both frames lie in one verified shot."""
        if any(first < cut <= last for cut in self.cuts):
            return False
        return not any(
            first < end - self.slack and last >= start + self.slack for start, end in self.gradual
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """What a detector says about one film."""

    cuts: tuple[int, ...]
    gradual: tuple[Span, ...] = ()
    shots: tuple[Span, ...] = ()
    """After trimming."""


@dataclasses.dataclass(frozen=True, slots=True)
class Score:
    """Counts that can be added up over films."""

    cuts: int = 0
    cuts_found: int = 0
    false_cuts: int = 0
    gradual: int = 0
    gradual_found: int = 0
    touching: int = 0
    false_boundaries: int = 0
    shots: int = 0
    leaks: int = 0

    def __add__(self, other: "Score") -> "Score":
        """Add counts."""
        pairs = zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)
        return Score(*(a + b for a, b in pairs))

    @property
    def precision(self) -> float:
        """Of the reported hard cuts; 1 where none was reported."""
        reported = self.cuts_found + self.false_cuts
        return self.cuts_found / reported if reported else 1.0

    @property
    def recall(self) -> float:
        """Of the verified hard cuts; 1 where there is none."""
        return self.cuts_found / self.cuts if self.cuts else 1.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


def score(truth: Truth, report: Report) -> Score:
    """Compare a report with what was verified, by the rules in this module's docstring."""
    cut_pairs = _one_to_one(truth.cuts, report.cuts, _cut_likeness)
    gradual_pairs = _one_to_one(
        truth.gradual, report.gradual, lambda real, told: _overlap(real, told, truth.slack)
    )
    other_cuts = [cut for i, cut in enumerate(report.cuts) if i not in cut_pairs.values()]
    other_spans = [span for i, span in enumerate(report.gradual) if i not in gradual_pairs.values()]
    missed = [span for i, span in enumerate(truth.gradual) if i not in gradual_pairs]
    told = [(cut, cut) for cut in other_cuts] + other_spans
    touched = _one_to_one(
        missed,
        told,
        lambda real, span: float(
            span[0] <= real[1] + truth.slack and span[1] >= real[0] - truth.slack
        ),
    )
    false = [i for i in range(len(told)) if i not in touched.values()]
    return Score(
        cuts=len(truth.cuts),
        cuts_found=len(cut_pairs),
        false_cuts=sum(i < len(other_cuts) for i in false),
        gradual=len(truth.gradual),
        gradual_found=len(gradual_pairs),
        touching=len(touched),
        false_boundaries=len(false),
        shots=len(report.shots),
        leaks=sum(not truth.same_shot(start, end - 1) for start, end in report.shots),
    )


def _cut_likeness(real: int, told: int) -> float:
    away = abs(real - told)
    return 1.0 / (1 + away) if away <= NEAR else 0.0


def _overlap(real: Span, told: Span, slack: int) -> float:
    """Intersection over union, the ends of `real` moved towards `told` by up to `slack` frames."""
    start, end = (int(np.clip(t, r - slack, r + slack)) for r, t in zip(real, told, strict=True))
    both = min(end, told[1]) - max(start, told[0])
    either = max(end, told[1]) - min(start, told[0])
    return both / either if both >= OVERLAP * either > 0 else 0.0


def _one_to_one(
    real: Sequence[Real], told: Sequence[Told], likeness: Callable[[Real, Told], float]
) -> dict[int, int]:
    """Pair up indices, likest first; pairs with likeness 0 are none.

    Cuts two frames apart and overlaps of more than half leave no better pairing to be found.
    """
    pairs = [
        (-likeness(r, t), i, j)
        for i, r in enumerate(real)
        for j, t in enumerate(told)
        if likeness(r, t) > 0
    ]
    chosen: dict[int, int] = {}
    for _, i, j in sorted(pairs):
        if i not in chosen and j not in chosen.values():
            chosen[i] = j
    return chosen


def judge_of(film: Film, config: TransNetConfig) -> TransitionMeter | None:
    """The network that a scan would ask about this film, if any."""
    if not config.wanted:
        return None
    turned, mirrored = film.info.rotation, film.info.mirrored
    return TransitionMeter(config.load(), config.channels, turned, mirrored=mirrored)


def pictures(film: Film, config: ScanConfig, threads: int) -> Iterator[U8]:
    """The pictures that a scan gives to shot detection."""
    box, _ = probe_borders(film, config.probe_keyframes)
    for frame in film.frames(threads=1 if film.info.truncated else threads):
        yield cut_picture(frame, film.info, box, config.cut_long_side)


def detect(
    bgr_frames: Iterator[U8],
    fps: float,
    config: ShotConfig,
    judge: TransitionMeter | None = None,
) -> tuple[dict[str, Report], ShotTrace]:
    """Run every detector over one film in one pass."""
    said: list[float] = []
    tracer = FrameTracer()
    tables = []
    peers = {name: make() for name, make in PEERS.items()}
    cuts: dict[str, list[FrameTimecode]] = {name: [] for name in peers}
    time = FrameTimecode(0, fps)
    for index, bgr in enumerate(bgr_frames):
        tracer.measure(bgr)
        said += judge.look(bgr) if judge else []
        if len(tracer) == 1024:
            tables.append(pa.table(tracer.take(), schema=FRAME_TRACE_SCHEMA))
        time = FrameTimecode(index, fps)
        for name, peer in peers.items():
            cuts[name] += peer.process_frame(time, bgr)
    tables.append(pa.table(tracer.take(), schema=FRAME_TRACE_SCHEMA))
    trace = ShotTrace.from_table(pa.concat_tables(tables))
    reports = {OURS: report_of(trace, fps, config)}
    if judge:
        probability = np.array(said + judge.finish(), np.float32)
        reports[BOTH] = report_of(trace, fps, config, probability)
    for name, peer in peers.items():
        found = sorted({cut.frame_num for cut in cuts[name] + peer.post_process(time)})
        edges = [0, *found, len(trace)]
        spans = tuple((a, b) for a, b in itertools.pairwise(edges) if a < b)
        reports[name] = Report(tuple(found), shots=spans)
    return reports, trace


def report_of(
    trace: ShotTrace, fps: float, config: ShotConfig, probability: F32 | None = None
) -> Report:
    """What our shots say: transitions, and the spans left after trimming."""
    shots = find_shots(trace, fps, config, probability)
    transitions = {t for shot in shots for t in (shot.transition_in, shot.transition_out)}
    trimmed = [trim_blurred_edges(shot, trace.sharpness, fps, config.trim) for shot in shots]
    return Report(
        cuts=tuple(sorted(t.start for t in transitions if t.kind == "cut")),
        gradual=tuple(
            sorted((t.start, t.end) for t in transitions if t.kind in ("fade", "dissolve"))
        ),
        shots=tuple((start, end) for start, end in trimmed if start < end),
    )


def read_manifest(films: Path) -> list[Truth]:
    """Truth about every film of a folder that can be opened at all."""
    entries = json.loads((films / "manifest.json").read_text(encoding="utf-8"))
    return [Truth.from_entry(entry) for entry in entries if entry.get("decoded_frames")]


def main() -> None:
    """Score all detectors on a folder of films and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--films", type=Path, default=FILMS, help="folder with a manifest.json")
    parser.add_argument("--only", nargs="*", help="names of films to look at")
    parser.add_argument("--transnet", type=Path, help="TransNetV2 as an ONNX file")
    parser.add_argument("--channels", default="rgb", help="what that file wants: rgb or bgr")
    parser.add_argument("--threads", type=int, default=2, help="decoder threads")
    parser.add_argument("--verbose", action="store_true", help="print what was missed")
    arguments = parser.parse_args()
    network = TransNetConfig(str(arguments.transnet or ""), arguments.channels).settled(Path())
    totals = {name: Score() for name in (OURS, *([BOTH] if network.wanted else []), *PEERS)}
    unverified: dict[str, int] = {}
    for truth in read_manifest(arguments.films):
        if arguments.only and truth.file not in arguments.only:
            continue
        film = Film(arguments.films / truth.file)
        frames = pictures(film, ScanConfig(), arguments.threads)
        reports, _ = detect(frames, truth.fps, ShotConfig(), judge_of(film, network))
        if not truth.scored:
            told = reports[OURS]
            unverified[truth.file] = len(told.cuts) + len(told.gradual)
            continue
        print(f"\n{truth.file}")
        for name, report in reports.items():
            result = score(truth, report)
            totals[name] += result
            print(f"  {name:20s} {_line(result)}")
            if arguments.verbose and name == OURS:
                print(f"    verified: cuts {truth.cuts}, gradual {truth.gradual}")
                print(f"    reported: cuts {report.cuts}, gradual {report.gradual}")
    print("\nTotal")
    for name, result in totals.items():
        print(f"  {name:20s} {_line(result)}")
    told_of = ", ".join(f"{file} {count}" for file, count in unverified.items() if count)
    print(
        f"\nNot scored (not verified): {len(unverified)} films; boundaries of ours: {told_of or 0}"
    )


def _line(result: Score) -> str:
    return (
        f"cuts {result.cuts_found:2d}/{result.cuts:2d} (false {result.false_cuts:2d})  "
        f"P {result.precision:.3f} R {result.recall:.3f} F1 {result.f1:.3f}  "
        f"gradual {result.gradual_found:2d}/{result.gradual:2d} (touching {result.touching:2d})  "
        f"false boundaries {result.false_boundaries:2d}  leaks {result.leaks:2d}/{result.shots:2d}"
    )


if __name__ == "__main__":
    main()
