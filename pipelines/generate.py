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
from model.generation import Finished, Segment, TreeGenerator
from model.generator_folder import (
    load_generator,
    read_network,
    read_spec,
    warnings_of,
)
from model.node_store import NodeStore
from model.presets import DiTConfig
from model.ranks import Ranks
from model.request import Request
from model.tree import Plan, plan_tree
from pipelines.generate_job import GenerateJob
from pipelines.job import Progress
from pipelines.memory import PeakMemory
from pipelines.pictures import ContactSheet, last_frames, load_picture, to_pictures
from pipelines.version import code_version


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
        peak_bytes: the most memory that rank 0 had meanwhile: of its GPU, or resident without one;
            None where the system does not tell.
        joints: colours on both sides of each joint.
    """

    video: Path
    sheet: Path
    record: Path
    nodes: Path
    frames: int
    seconds: float
    first_segment_seconds: float
    peak_bytes: int | None
    joints: tuple[Joint, ...]
    not_carried: str | None
    """Why the film that was continued does not stand in this one, coded as it was; then this one
    begins with the first new frame. None where it does, or there was none."""

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
    return [*warnings_of(job.checkpoint), *_material(job).request.plan.warnings]


def plan_of(job: GenerateJob) -> Plan:
    """The tree; of a continuation, that of its first round."""
    if job.video is None:
        given = [0] * (job.first is not None) + [job.frames - 1] * (job.last is not None)
        return plan_tree(job.tree, job.frames, given=given)
    return _material(job).request.plan


def network_of(checkpoint: Path) -> tuple[DiTConfig, int]:
    """Size of a checkpoint's network, and tokens of its text encoder; reads no weights."""
    return read_network(checkpoint), read_spec(checkpoint).text.length


def produce(
    job: GenerateJob,
    progress: Progress,
    ranks: Ranks | None = None,
    generator: TreeGenerator | None = None,
) -> Generated | None:
    """Generate, as one of several ranks or alone.

    Args:
        job: what.
        progress: who watches.
        ranks: who shares the work.
        generator: the checkpoint where it is loaded already, as `job.loading` says.

    Returns:
        What was made; None on ranks other than 0.
    """
    ranks = ranks or Ranks()
    started = time.monotonic()
    memory = PeakMemory(job.device)
    material = _material(job)
    generator = generator or load_generator(job.checkpoint, job.loading(ranks.rank))
    if ranks.rank:
        for _ in _segments(job, material, generator, ranks, None, progress):
            pass
        return None
    progress.stage("generate", _node_count(job, material))
    with NodeStore(job.nodes_folder) as store:
        segments = _segments(job, material, generator, ranks, store, progress)
        written = _write_film(job, material, segments, progress)
    made = Generated(
        video=job.out,
        sheet=job.sheet,
        record=job.record,
        nodes=job.nodes_folder,
        frames=written.frames,
        seconds=round(time.monotonic() - started, 3),
        first_segment_seconds=round(written.first - started, 3),
        peak_bytes=memory.bytes(),
        joints=tuple(written.joints),
        not_carried=written.not_carried,
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
        pictures = ((job.frames - 1, job.last), (0, job.first))
        given = {at: load_picture(path, *size) for at, path in pictures if path}
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
    return extend(material.tail, job.frames, material.request, run)


def _node_count(job: GenerateJob, material: _Material) -> int:
    rounds = 1 if material.tail is None else -(-job.frames // Lengths().new)
    return rounds * len(material.request.plan.nodes)


@dataclasses.dataclass(frozen=True)
class _Written:
    """A film that was written."""

    frames: int
    joints: list[Joint]
    first: float
    """When the first new frames came."""
    not_carried: str | None


def _write_film(
    job: GenerateJob, material: _Material, segments: Iterator[Segment], progress: Progress
) -> _Written:
    """Write frames as they come, behind the given film's own if these can be carried over.

    What was given is never coded anew: where it does not fit, the film holds the new part alone.
    """
    schedule = material.request.plan.schedule
    rate, new = schedule.rates[-1], -(-job.frames // schedule.strides[-1])
    meter = JointMeter(material.tail)
    target = job.out if job.stream else job.out.with_name(f".{job.out.name}.part")
    writing = GrowingFilmWriter if job.stream else FilmWriter
    colour = material.before.info.colour if material.before else None
    first, not_carried = 0.0, None
    with writing(target, job.width, job.height, fps=Fraction(rate), colour=colour) as writer:
        if material.before is not None:
            not_carried = writer.carry(material.before, material.tail_end)
            if not_carried is not None:
                progress.say(
                    f"{job.video} cannot be carried over as it is ({not_carried}): the film holds "
                    "what is new alone; play the two one after the other"
                )
        carried = writer.frames
        sheet = ContactSheet(carried + new, rate)
        if material.before is not None and carried:
            for index, frame in enumerate(played(material.before, job.width, job.height)):
                sheet.show(index, rgb_of(frame, material.before.info.colour))
        for segment in segments:
            first = first or time.monotonic()
            meter.watch(dataclasses.replace(segment, first=writer.frames))
            for picture in to_pictures(segment.frames):
                sheet.show(writer.frames, picture)
                writer.write_rgb(picture)
            if job.stream:
                seconds = (writer.frames / rate, (carried + new) / rate)
                progress.say(f"{seconds[0]:.2f} s of {seconds[1]:.2f} s can be watched")
        frames = writer.frames
    assert frames == carried + new, (frames, carried, new)
    if target != job.out:
        target.replace(job.out)
    sheet.save(job.sheet)
    return _Written(frames, meter.finish(), first, not_carried)


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
