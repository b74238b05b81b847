"""What a training run begins with or goes on from: first weights, or its newest sound checkpoint.

A run is a function of its config and its data, so one that goes on from an older checkpoint ends
with the same weights, only later. That is why a damaged checkpoint is passed over, loudly, where a
sound one is left; where none is, nothing is begun anew unasked. The trade-off is that all of a
checkpoint is read once more before any rank starts; of a run that is done, only its record is.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from curation.identities import canonical_json
from model.generator_folder import CodecSpec
from pipelines.settings import Home, typed_config
from pipelines.version import code_version
from training.checkpoint_record import (
    GENERATOR,
    Provenance,
    Record,
    check_generator,
    complete_steps,
    read_record,
    set_aside,
    step_folder,
    verify,
)
from training.config import TrainConfig
from training.errors import CheckpointError, DamagedCheckpointError, TrainingError
from training.loop import diverged_at
from training.trainer import RunJob, latest
from training.versions import PublishedVersion

_MAY_CHANGE = (
    "steps", "checkpoint", "log", "engine", "data.loader", "optimiser.max_skipped",
    "validation.videos", "validation.sampling", "precomputed",
)  # fmt: skip
"""What another configuration may differ in and still go on from a checkpoint: none of it decides
what a step computes, up to rounding. (The length of a cosine schedule is `steps`, and is said. So
is a set of latents that lacks samples which were damaged: it decides that others are shown.)"""

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True, slots=True)
class Beginning:
    """What is asked of a run before it has begun.

    Attributes:
        config: of the run.
        training: its name.
        version: what it is trained on.
        may_resume: whether it may go on from a checkpoint of its own.
    """

    config: TrainConfig
    training: str
    version: PublishedVersion
    may_resume: bool


def job_of(begin: Beginning, home: Home, say: Say) -> RunJob:
    """What every rank is told: to begin, or to go on.

    Raises:
        TrainingError: it must not go on, was begun otherwise, has no sound checkpoint left, or
            stopped because its gradients were not finite.
    """
    name, version = begin.training, begin.version
    checkpoints = home.checkpoints / name
    step = latest(checkpoints)
    if step is not None and not begin.may_resume:
        raise TrainingError(
            f"run {name} has a checkpoint at step {step}, and resume is 'never': give another "
            f"--name, or delete {checkpoints}"
        )
    before = _finished(checkpoints, begin.config.steps) or _newest_sound(checkpoints, say)
    if before is None:
        config = init_in(home, begin.config)
        parent = _parent(config)
    else:
        config = _goes_on(begin, before)
        parent = before.provenance.parent
    provenance = Provenance(
        training=name,
        stage=config.stage,
        recipe=config.recipe,
        config=_plain(config),
        dataset=version.reference,
        manifest_sha256=version.sha256,
        parent=parent,
        seed=config.seed,
        code_version=code_version(),
    )
    resume = None if before is None else before.step
    return RunJob(config, provenance, version.manifest, checkpoints, home.runs / name, resume)


def init_in(home: Home, config: TrainConfig) -> TrainConfig:
    """The config with its first weights named by a full path, and these held against their hashes.

    A checkpoint may be named as ``RUN`` (its newest) or ``RUN/step-00000100``, or by its folder.

    Raises:
        CheckpointError: there is none, or it is damaged, or of a codec whose latents are others.
    """
    init = config.network.init
    if init.kind == "checkpoint" and init.source is not None:
        _check_codec(verify(checkpoint_at(home, init.source)).provenance, config.codec)
    return named_in(home, config)


def _check_codec(origin: Provenance, codec: CodecSpec) -> None:
    """Weights mean nothing on other latents, and nothing would tell but their videos.

    Raises:
        CheckpointError: they were trained on other ones, or their record does not say on which.
    """
    why = other_latents(codec_of(origin.training, origin.config), codec)
    if why is not None:
        raise CheckpointError(
            f"{origin.training} {why}: begin with a checkpoint of the same, or train one"
        )


def codec_of(training: str, recorded: dict[str, Any]) -> CodecSpec:
    """The codec on whose latents a run was trained, by the config that it recorded.

    Raises:
        CheckpointError: it does not say.
    """
    try:
        return typed_config(CodecSpec, recorded["codec"])
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"{training} does not say its codec: {error!r}") from error


def other_latents(trained: CodecSpec, codec: CodecSpec) -> str | None:
    """What is to be said of weights that are no use with a codec's latents; None: they are."""
    # The source says where an autoencoder lies, which may have moved.
    if dataclasses.replace(trained, source=None) == dataclasses.replace(codec, source=None):
        return None
    both = f"{_named(trained)}, here {_named(codec)}"
    return f"was trained on latents of another codec ({both})"


def _named(codec: CodecSpec) -> str:
    layout = "" if codec.layout is None else ", a layout of its own"
    return f"{codec.kind}, scale {codec.scale}{layout}" if codec.kind == "dct" else codec.kind


def named_in(home: Home, config: TrainConfig) -> TrainConfig:
    """The config with its first weights named by a full path, whatever they are.

    Raises:
        CheckpointError: there is no such checkpoint.
    """
    init = config.network.init
    if init.kind != "checkpoint" or init.source is None:
        return config
    source = str(checkpoint_at(home, init.source))
    network = dataclasses.replace(config.network, init=dataclasses.replace(init, source=source))
    return dataclasses.replace(config, network=network)


def checkpoint_at(home: Home, named: str) -> Path:
    """The folder of a checkpoint: named by its folder, as ``RUN`` or ``RUN/step-00000100``.

    Raises:
        CheckpointError: there is none.
    """
    for folder in (home.checkpoints / named, Path(named).absolute()):
        if (folder / "record.json").is_file():
            return folder
        step = latest(folder)
        if step is not None:
            return step_folder(folder, step)
    there = sorted(found.name for found in home.checkpoints.glob("*") if found.is_dir())
    raise CheckpointError(
        f"no checkpoint {named!r}: give a folder, or one of the runs {', '.join(there) or '(none)'}"
    )


def checkpoint_id(training: str, step: int) -> str:
    """Identity of a checkpoint in the catalog."""
    return hashlib.sha256(f"{training}\n{step}".encode()).hexdigest()[:32]


def config_of(provenance: Provenance) -> TrainConfig:
    """The config that a checkpoint was trained with.

    A field that its record lacks was added since, and takes its default: the rule for new fields is
    that their default in the dataclass means what was done before there was such a field.

    Raises:
        CheckpointError: it has fields that there are none of any more, or values of another type.
    """
    try:
        config = typed_config(TrainConfig, provenance.config)
    except ValueError as error:
        raise CheckpointError(f"{provenance.training}: {error}") from error
    gone = _missing(provenance.config, _plain(config))
    if gone:
        raise CheckpointError(
            f"{provenance.training} was begun with {', '.join(gone)}, which this version of "
            f"tempomaster does not know: use the one that began it ({provenance.code_version})"
        )
    return config


def differences(one: dict[str, Any], other: dict[str, Any], prefix: str = "") -> list[str]:
    """Paths of the fields in which two recorded configs differ."""
    found = []
    for name in sorted(one.keys() | other.keys()):
        a, b = one.get(name), other.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, f"{prefix}{name}.")
        elif a != b:
            found.append(f"{prefix}{name}")
    return found


def _missing(recorded: dict[str, Any], known: dict[str, Any], prefix: str = "") -> list[str]:
    """Paths of recorded fields that are not known, with what they say."""
    found = []
    for name, value in sorted(recorded.items()):
        if name not in known:
            found.append(f"{prefix}{name} = {value!r}")
        elif isinstance(value, dict) and isinstance(known[name], dict):
            found += _missing(value, known[name], f"{prefix}{name}.")
    return found


def _finished(checkpoints: Path, steps: int) -> Record | None:
    """The record of the newest checkpoint, where no step is left: no rank will read its weights."""
    step = latest(checkpoints)
    if step is None or step < steps:
        return None
    try:
        return read_record(step_folder(checkpoints, step))
    except DamagedCheckpointError:
        return None  # which is said where it is passed over


def _newest_sound(checkpoints: Path, say: Say) -> Record | None:
    """The newest checkpoint that is what was written; None where there is none at all.

    Damaged ones after it lose their names. They are kept: what is in them may tell which disk it
    was, and a good copy may be put back.

    Raises:
        CheckpointError: all are damaged.
    """
    damaged: list[tuple[int, DamagedCheckpointError]] = []
    for step in reversed(complete_steps(checkpoints)):
        try:
            sound = verify(step_folder(checkpoints, step))
        except DamagedCheckpointError as error:
            damaged.append((step, error))
            continue
        for lost, damage in damaged:
            aside = set_aside(damage.folder)
            say(
                f"warning: the checkpoint at step {lost} is damaged ({damage.reason}) and is now "
                f"{aside}; going on from step {step}, {lost - step} steps are done again. See to "
                "the disk; to save the steps, stop, and put a good copy back under its name"
            )
        try:
            check_generator(step_folder(checkpoints, step) / GENERATOR)
        except CheckpointError as error:
            say(
                f"warning: going on from step {step}, for no step needs its {GENERATOR}/; but see "
                f"to the disk, and do not generate by it: {error}"
            )
        return sound
    if damaged:
        reasons = "".join(f"\n  step {step}: {damage.reason}" for step, damage in damaged)
        raise CheckpointError(
            f"no sound checkpoint is left in {checkpoints}: put a good copy back, or delete the "
            f"folder to begin anew{reasons}"
        )
    return None


def _goes_on(begin: Beginning, before: Record) -> TrainConfig:
    """The config to go on with, if what was begun goes on with it.

    First weights are those that the run was begun with, which may be gone by now.
    """
    name, origin = begin.training, before.provenance
    if origin.manifest_sha256 != begin.version.sha256:
        raise TrainingError(
            f"run {name} was begun on {origin.dataset}, and this is {begin.version.reference}: "
            "give it another --name, or name that version"
        )
    begun = config_of(origin)
    network = dataclasses.replace(begin.config.network, init=begun.network.init)
    config = dataclasses.replace(begin.config, network=network)
    changed = [
        path
        for path in differences(_plain(begun), _plain(config))
        if not any(path == may or path.startswith(f"{may}.") for may in _MAY_CHANGE)
    ]
    if changed:
        raise TrainingError(
            f"run {name} was begun with other values of {', '.join(changed)}: give it another "
            "--name, or go on with the same recipe and --set"
        )
    if before.skipped >= config.optimiser.max_skipped:
        raise diverged_at(before.step - 1, before.skipped)
    return config


def _parent(config: TrainConfig) -> str | None:
    init = config.network.init
    if init.kind != "checkpoint":
        return init.source
    if init.source is None:
        return None  # refused when it is read, with the remedy
    record = read_record(Path(init.source))
    return checkpoint_id(record.provenance.training, record.step)


def _plain(config: TrainConfig) -> dict[str, Any]:
    """As JSON holds it."""
    plain: dict[str, Any] = json.loads(canonical_json(config))
    return plain
