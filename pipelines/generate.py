"""The job of generating a video: a checkpoint, words and pictures in; a film, its record out.

Beside the film stand a contact sheet and a JSON record of all that is needed to repeat it. Frames
of finished nodes are kept in a folder, so that the same job, started again after a kill, goes on
where it was and ends with the same bytes. Several ranks are processes of this machine.
"""

import dataclasses
import datetime as dt
import hashlib
import json
import os
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from curation.video.encode import FilmWriter
from curation.video.film import Film
from curation.video.growing import GrowingFilmWriter
from curation.video.playback import played, rgb_of
from model.continuation import Joint, JointMeter, Lengths, extend, first_round
from model.flow_matching import SolverName
from model.generation import Finished, Segment, TreeGenerator
from model.generator_folder import (
    Adapter,
    Loading,
    load_generator,
    read_network,
    read_spec,
    warnings_of,
)
from model.node_store import NodeStore
from model.presets import DiTConfig
from model.ranks import Ranks
from model.request import Change, Request
from model.sampling import LevelSampling, Sampling
from model.schedule import Schedule
from model.tree import Plan, plan_tree
from model.work import Execution
from pipelines.job import Progress
from pipelines.pictures import ContactSheet, last_frames, load_picture, to_pictures
from pipelines.version import code_version

_SIDE = 16
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclasses.dataclass(frozen=True)
class GenerateJob:
    """What `tempo generate` is asked for.

    Attributes:
        checkpoint: folder of a generator.
        out: the film, ``.mp4``; sheet, record and nodes are named after it.
        prompt: words.
        width: pixels, a multiple of 16.
        height: pixels, a multiple of 16.
        frames: at 24 fps; of the film or, with `video`, of what is added to it.
        schedule: in the paper's notation.
        steps: of each level; empty: the schedule's defaults.
        guidance: of each level, or one for all.
        shift: of each level, or one for all.
        solver: see `model.flow_matching`.
        negative: what guidance leads away from.
        seed: of the run.
        first: picture of the first frame.
        last: picture of the last frame.
        video: film to continue.
        paste_given: `first` and `last` replace what was generated there.
        stream: finish the first seconds first, and write a film that can be watched meanwhile.
        batch: windows at once; None: what `memory` allows.
        memory: bytes for the activations of a batch.
        ranks: processes, each with a device of its own where there are several.
        device: "cpu" or "cuda".
        dtype: of the network.
        offload: parts that rest wait on the CPU.
        tiling: of the autoencoder.
        adapters: LoRA files and their weights, fused.
        changes: of single nodes.
        nodes: folder of finished nodes; None: beside the film.
        prompt_cache: folder of prompt embeddings; None: none is kept.
    """

    checkpoint: Path
    out: Path
    prompt: str
    width: int
    height: int
    frames: int
    schedule: str = "f(6,12,24)m(1,2,4)"
    steps: tuple[int, ...] = ()
    guidance: tuple[float, ...] = (5.0,)
    shift: tuple[float, ...] = (3.0,)
    solver: SolverName = "unipc"
    negative: str = ""
    seed: int = 0
    first: Path | None = None
    last: Path | None = None
    video: Path | None = None
    paste_given: bool = False
    stream: bool = False
    batch: int | None = None
    memory: int = 4 << 30
    ranks: int = 1
    device: str = "cpu"
    dtype: str = "float32"
    offload: bool = False
    tiling: bool = False
    adapters: tuple[Adapter, ...] = ()
    changes: tuple[tuple[str, Change], ...] = ()
    nodes: Path | None = None
    prompt_cache: Path | None = None

    def __post_init__(self) -> None:
        for side, pixels in (("width", self.width), ("height", self.height)):
            if pixels < _SIDE or pixels % _SIDE:
                near = max(round(pixels / _SIDE), 1) * _SIDE
                raise ValueError(f"{side}={pixels}: must be a multiple of {_SIDE}, e.g. {near}")
        if self.out.suffix != ".mp4":
            raise ValueError(f"out={self.out}: films are written as MP4; name it something.mp4")
        if not self.out.absolute().parent.is_dir():
            raise ValueError(f"out={self.out}: there is no folder {self.out.absolute().parent}")
        if self.video is not None and (self.first or self.last):
            raise ValueError("video: a continuation goes on from the film; leave out the pictures")
        if self.dtype not in _DTYPES:
            raise ValueError(f"dtype={self.dtype!r}: choose one of {', '.join(_DTYPES)}")
        if self.ranks < 1:
            raise ValueError(f"ranks={self.ranks}: must be at least 1")
        counts = {len(self.guidance), len(self.shift)} - {1}
        levels = len(self.tree.rates)
        if counts - {levels}:
            raise ValueError(
                f"guidance and shift: give one number, or one for each of the {levels} levels of "
                f"{self.schedule}"
            )

    @property
    def tree(self) -> Schedule:
        """The schedule with its steps."""
        return Schedule.parse(self.schedule, steps=self.steps)

    @property
    def sampling(self) -> Sampling:
        """Guidance, shift and solver of each level."""
        count = max(len(self.guidance), len(self.shift))
        guidance, shift = (
            values * count if len(values) == 1 else values for values in (self.guidance, self.shift)
        )
        levels = tuple(map(LevelSampling, guidance, shift))
        return Sampling(levels, self.solver)

    @property
    def execution(self) -> Execution:
        """Order and batches."""
        return Execution("depth" if self.stream else "breadth", self.batch, self.memory)

    @property
    def sheet(self) -> Path:
        """The contact sheet."""
        return self.out.with_suffix(".png")

    @property
    def record(self) -> Path:
        """The JSON record."""
        return self.out.with_suffix(".json")

    @property
    def nodes_folder(self) -> Path:
        """Where finished nodes are kept."""
        return self.nodes or self.out.with_suffix(".nodes")

    def loading(self, rank: int) -> Loading:
        """How a rank loads the checkpoint."""
        device = self.device
        if device == "cuda" and self.ranks > 1:
            device = f"cuda:{rank % torch.cuda.device_count()}"
        return Loading(
            device,
            _DTYPES[self.dtype],
            self.offload,
            self.tiling,
            self.prompt_cache,
            self.adapters,
        )


@dataclasses.dataclass(frozen=True)
class Generated:
    """What a job made.

    Attributes:
        video: the film.
        sheet: the contact sheet.
        record: the JSON record.
        nodes: folder of finished nodes.
        frames: of the film.
        seconds: that it took.
        first_segment_seconds: until the first new frames were there.
        joints: colours on both sides of each joint.
    """

    video: Path
    sheet: Path
    record: Path
    nodes: Path
    frames: int
    seconds: float
    first_segment_seconds: float
    joints: tuple[Joint, ...]

    def document(self) -> dict[str, Any]:
        """As JSON holds it."""
        listed = dataclasses.asdict(self)
        return {k: str(v) if isinstance(v, Path) else v for k, v in listed.items()}


@dataclasses.dataclass(frozen=True)
class _Material:
    """What the user gave, read: a request, and the film it goes on from."""

    request: Request
    before: Film | None = None
    tail: Tensor | None = None
    tail_end: int = 0


def check(job: GenerateJob) -> list[str]:
    """Look at what can be checked without loading weights.

    Returns:
        Warnings, each with its remedy.

    Raises:
        CheckpointError: the checkpoint cannot be one.
        FilmError: the film to continue cannot be read.
        ValueError: a picture cannot be read, or the request makes no sense.
    """
    read_spec(job.checkpoint)
    for adapter in job.adapters:
        if not adapter.file.is_file():
            raise ValueError(f"lora={adapter.file}: there is no such file")
    return [*warnings_of(job.checkpoint), *plan_of(job).warnings]


def plan_of(job: GenerateJob) -> Plan:
    """The tree; of a continuation, that of its first round."""
    if job.video is None:
        given = [0] * (job.first is not None) + [job.frames - 1] * (job.last is not None)
        return plan_tree(job.tree, job.frames, given=given)
    return _material(job).request.plan


def network_of(checkpoint: Path) -> tuple[DiTConfig, int]:
    """Size of a checkpoint's network, and tokens of its text encoder; reads no weights."""
    return read_network(checkpoint), read_spec(checkpoint).text.length


def produce(job: GenerateJob, progress: Progress, ranks: Ranks | None = None) -> Generated | None:
    """Generate, as one of several ranks or alone.

    Returns:
        What was made; None on ranks other than 0.
    """
    ranks = ranks or Ranks()
    started = time.monotonic()
    material = _material(job)
    generator = load_generator(job.checkpoint, job.loading(ranks.rank))
    if ranks.rank:
        for _ in _segments(job, material, generator, ranks, None, progress):
            pass
        return None
    progress.stage("generate", _node_count(job, material))
    with NodeStore(job.nodes_folder) as store:
        segments = _segments(job, material, generator, ranks, store, progress)
        frames, joints, first = _write_film(job, material, segments, progress)
    made = Generated(
        video=job.out,
        sheet=job.sheet,
        record=job.record,
        nodes=job.nodes_folder,
        frames=frames,
        seconds=round(time.monotonic() - started, 3),
        first_segment_seconds=round(first - started, 3),
        joints=tuple(joints),
    )
    _write_record(job, material, generator, made)
    return made


def _material(job: GenerateJob) -> _Material:
    size = job.width, job.height
    before = tail = None
    end = 0
    given: dict[int, Tensor] = {}
    if job.video is not None:
        before = Film(job.video)
        tail, end = last_frames(before, *size, Lengths().overlap)
        plan, given = first_round(tail, job.frames, job.tree)
    else:
        plan = plan_of(job)
        pictures = {0: job.first, job.frames - 1: job.last}
        given = {at: load_picture(path, *size) for at, path in pictures.items() if path}
    request = Request(
        plan=plan,
        prompt=job.prompt,
        height=job.height,
        width=job.width,
        given=given,
        negative=job.negative,
        seed=job.seed,
        sampling=job.sampling,
        paste_given=job.paste_given,
        changes=dict(job.changes),
    )
    return _Material(request, before, tail, end)


def _segments(
    job: GenerateJob,
    material: _Material,
    generator: TreeGenerator,
    ranks: Ranks,
    store: NodeStore | None,
    progress: Progress,
) -> Iterator[Segment]:
    def tell(finished: Finished) -> None:
        node = finished.node
        how = "found" if finished.reused else f"{finished.seconds:.1f} s"
        progress.say(
            f"node {node.id}: frames {node.start}-{node.end} at {node.rate} fps, {how} "
            f"({finished.done} of {finished.total})"
        )
        progress.advance()

    def run(request: Request) -> Iterator[Segment]:
        return generator.generate(request, job.execution, ranks=ranks, store=store, watch=tell)

    if material.tail is None:
        return run(material.request)
    counted = extend(material.tail, job.frames, material.request, run)
    # Counted from the start of the film, of which only the end was given.
    offset = material.tail_end - material.tail.shape[1]
    return (dataclasses.replace(segment, first=segment.first + offset) for segment in counted)


def _node_count(job: GenerateJob, material: _Material) -> int:
    rounds = 1 if material.tail is None else -(-job.frames // Lengths().new)
    return rounds * len(material.request.plan.nodes)


def _write_film(
    job: GenerateJob, material: _Material, segments: Iterator[Segment], progress: Progress
) -> tuple[int, list[Joint], float]:
    """Write frames as they come; how many there are, joints, and when the first new ones came."""
    schedule = material.request.plan.schedule
    rate, stride = schedule.rates[-1], schedule.strides[-1]
    total = material.tail_end + -(-job.frames // stride)
    sheet, meter = ContactSheet(total, rate), JointMeter(material.tail)
    target = job.out if job.stream else job.out.with_name(f".{job.out.name}.part")
    writing = GrowingFilmWriter if job.stream else FilmWriter
    colour = material.before.info.colour if material.before else None
    first = 0.0
    with writing(target, job.width, job.height, fps=Fraction(rate), colour=colour) as writer:
        if material.before is not None:
            for frame in played(material.before, job.width, job.height):
                sheet.show(writer.frames, rgb_of(frame, material.before.info.colour))
                writer.write(frame)
        for segment in segments:
            first = first or time.monotonic()
            meter.watch(segment)
            for picture in to_pictures(segment.frames):
                sheet.show(writer.frames, picture)
                writer.write_rgb(picture)
            if job.stream:
                progress.say(f"{writer.frames / rate:.2f} s of {total / rate:.2f} s can be watched")
        frames = writer.frames
    assert frames == total, (frames, total)
    if target != job.out:
        target.replace(job.out)
    sheet.save(job.sheet)
    return frames, meter.finish(), first


def _write_record(
    job: GenerateJob, material: _Material, generator: TreeGenerator, made: Generated
) -> None:
    given = {name: path for name in ("first", "last", "video") if (path := getattr(job, name))}
    document = {
        "job": _plain(dataclasses.asdict(job)),
        "plan": material.request.plan.document(),
        "generator": {
            "fingerprint": generator.fingerprint,
            "codec": generator.codec.fingerprint,
            "text": generator.text.fingerprint,
            "network": dataclasses.asdict(generator.size),
        },
        "given": {name: {"path": str(p), "sha256": _sha256(p)} for name, p in given.items()},
        "adapters": {str(adapter.file): _sha256(adapter.file) for adapter in job.adapters},
        "code": code_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "finished": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "made": made.document() | {"sha256": _sha256(made.video)},
    }
    unfinished = job.record.with_name(f".{job.record.name}.{os.getpid()}")
    unfinished.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    unfinished.replace(job.record)


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever a job's fields hold
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return str(value) if isinstance(value, Path) else value


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
