"""The job of generating a video: a checkpoint, words and pictures in; a film, its record out.

Beside the film stand a contact sheet and a JSON record of all that is needed to repeat it. Frames
of finished nodes are kept in a folder, so that the same job, started again after a kill, goes on
where it was and ends with the same bytes. Several ranks are processes of this machine.
"""

import contextlib
import dataclasses
import datetime as dt
import hashlib
import json
import time
from collections.abc import Iterator
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from curation.errors import FilmError
from curation.unfinished import replacing
from curation.video.encode import FilmWriter
from curation.video.film import Film
from curation.video.growing import GrowingFilmWriter
from curation.video.playback import played, rgb_of
from model.continuation import (
    Joint,
    JointMeter,
    Lengths,
    extend,
    first_round,
    round_plans,
)
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
from model.request import Request, check_changes
from model.tree import Plan, plan_tree
from model.tree_cost import plan_cost
from model.work import useful
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
class Planned:
    """What a job would do.

    Attributes:
        plans: of all rounds, in order; only a continuation can have several.
        warnings: what may turn out badly, each with its remedy.
    """

    plans: tuple[Plan, ...]
    warnings: tuple[str, ...]

    def operations(self, job: GenerateJob) -> int:
        """Of the network in all rounds, the forwards of guidance included; reads no weights."""
        size, text = network_of(job.checkpoint)
        costs = [plan_cost(plan, size, job.height, job.width, text) for plan in self.plans]
        return sum(cost.guided(job.scales) for cost in costs)


@dataclasses.dataclass(frozen=True)
class _Material:
    """What the user gave, read: requests to be, and the film they go on from.

    Attributes:
        request: the first round's.
        plans: of all rounds.
        before: the film to continue.
        tail: its last frames.
        tail_end: frames that it has.
    """

    request: Request
    plans: tuple[Plan, ...]
    before: Film | None = None
    tail: Tensor | None = None
    tail_end: int = 0


def check(job: GenerateJob) -> Planned:
    """Look at what can be checked without loading weights.

    Raises:
        CheckpointError: the checkpoint cannot be one.
        ValueError: a picture or the film to continue cannot be read, there is no such device, or
            the request makes no sense.
    """
    read_spec(job.checkpoint)
    _check_device(job.device)
    for adapter in job.adapters:
        if not adapter.file.is_file():
            raise ValueError(f"lora={adapter.file}: there is no such file")
    material = _material(job)
    warnings = dict.fromkeys(warnings_of(job.checkpoint), "")  # and where each comes first
    for number, plan in enumerate(material.plans):
        where = f"round {number}: " if job.rounds > 1 else ""
        try:
            check_changes(plan, job.changes_of(number))
        except ValueError as error:
            raise ValueError(f"{where}{error}") from error
        for warning in (*plan.warnings, *_moved(plan)):
            warnings.setdefault(warning, where)
    return Planned(material.plans, tuple(where + text for text, where in warnings.items()))


def _check_device(name: str) -> None:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device={name!r}: choose cpu or cuda") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device={name!r}: torch sees no GPU here; use cpu")
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"device={name!r}: choose cpu or cuda")


def _moved(plan: Plan) -> Iterator[str]:
    """Of pictures that the video shows at another time than asked.

    Raises:
        ValueError: it does not show one at all.
    """
    rate = plan.schedule.rates[-1]
    for placement in plan.placements:
        if placement.level + 1 < len(plan.schedule.rates) or not placement.moved:
            continue
        asked, placed = placement.asked, placement.placed
        remedy = "end the schedule with a level that has it, or choose another length"
        if placed is None or placed >= plan.frames:
            raise ValueError(
                f"the picture given for frame {asked} would not be seen: at {rate} frames a second "
                f"the video has no frame there; {remedy}"
            )
        yield f"the picture given for frame {asked} is shown at frame {placed}: {remedy}"


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
    progress.stage("generate", sum(len(useful(plan)) for plan in material.plans))
    given = {name: _sha256(path) for name, path in job.given.items()}  # before anything is written
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
    _write_record(job, material, generator, given, made)
    return made


def _material(job: GenerateJob) -> _Material:
    size = job.width, job.height
    cap = read_spec(job.checkpoint).longest_window
    before = tail = None
    end = 0
    given: dict[int, Tensor] = {}
    if job.video is not None:
        try:
            before = Film(job.video)
            tail, end = last_frames(before, *size, Lengths().overlap)
        except FilmError as error:
            raise ValueError(f"video={job.video}: {error}") from error
        _, given = first_round(tail, job.frames, job.tree)
        plans = tuple(round_plans(end, job.frames, job.tree, window_cap=cap))
    else:
        pictures = ((job.frames - 1, job.last), (0, job.first))
        given = {at: load_picture(path, *size) for at, path in pictures if path}
        plans = (plan_tree(job.tree, job.frames, given=given, strict=job.strict, window_cap=cap),)
    request = Request(
        plan=plans[0],
        prompt=job.prompt,
        height=job.height,
        width=job.width,
        given=given,
        negative=job.negative,
        seed=job.seed,
        sampling=job.sampling,
        paste_given=job.paste_given,
        changes=job.changes_of(0),
    )
    return _Material(request, plans, before, tail, end)


def _segments(
    job: GenerateJob,
    material: _Material,
    generator: TreeGenerator,
    ranks: Ranks,
    store: NodeStore | None,
    progress: Progress,
) -> Iterator[Segment]:
    rounds: list[str] = [""]

    def tell(finished: Finished) -> None:
        node = finished.node
        how = "found" if finished.reused else f"{finished.seconds:.1f} s"
        progress.say(
            f"node {rounds[-1]}{node.id}: frames {node.start}-{node.end} at {node.rate} fps, {how} "
            f"({finished.done} of {finished.total})"
        )
        progress.advance()

    def run(request: Request) -> Iterator[Segment]:
        if material.tail is not None:
            rounds.append(f"{request.scope}/")
        return generator.generate(request, job.execution, ranks=ranks, store=store, watch=tell)

    if material.tail is None:
        return run(material.request)
    later = {number: job.changes_of(number) for number in range(1, job.rounds)}
    return extend(material.tail, job.frames, material.request, run, later=later)


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
    place = contextlib.nullcontext(job.out) if job.stream else replacing(job.out)
    writing = GrowingFilmWriter if job.stream else FilmWriter
    colour = material.before.info.colour if material.before else None
    first, not_carried = 0.0, None
    with (
        place as target,
        writing(target, job.width, job.height, fps=Fraction(rate), colour=colour) as writer,
    ):
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
            if isinstance(writer, GrowingFilmWriter):
                seconds = (writer.watchable / rate, (carried + new) / rate)
                progress.say(f"{seconds[0]:.2f} s of {seconds[1]:.2f} s can be watched")
        frames = writer.frames
    assert frames == carried + new, (frames, carried, new)
    if job.stream:
        progress.say(f"{frames / rate:.2f} s, all of it, can be watched")
    sheet.save(job.sheet)
    return _Written(frames, meter.finish(), first, not_carried)


def _write_record(
    job: GenerateJob,
    material: _Material,
    generator: TreeGenerator,
    given: dict[str, str],
    made: Generated,
) -> None:
    document = {
        "job": _plain(dataclasses.asdict(job)),
        "plans": [plan.document() for plan in material.plans],
        "generator": {
            "fingerprint": generator.fingerprint,
            "codec": generator.codec.fingerprint,
            "text": generator.text.fingerprint,
            "network": dataclasses.asdict(generator.size),
        },
        "given": {
            name: {"path": str(path), "sha256": given[name]} for name, path in job.given.items()
        },
        "code": code_version(),
        "packages": {name: version(name) for name in ("torch", "diffusers", "av")},
        "device": _device_name(job.device),
        "threads": torch.get_num_threads(),
        "finished": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "made": made.document() | {"sha256": _sha256(made.video)},
    }
    with replacing(job.record) as unfinished:
        text = json.dumps(document, indent=2, sort_keys=True) + "\n"
        unfinished.write_text(text, encoding="utf-8")


def _device_name(name: str) -> str:
    device = torch.device(name)
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever a job's fields hold
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return str(value) if isinstance(value, Path) else value


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
