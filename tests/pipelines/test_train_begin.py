"""What a run goes on from: a sound checkpoint, of a config that is the same in today's words."""

import dataclasses
import errno
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from curation.identities import canonical_json
from model.generator_folder import CodecSpec
from pipelines.settings import Home
from pipelines.train_begin import Beginning, config_of, init_in, job_of
from tests.training.tiny_run import tiny_config
from training.checkpoint_record import (
    Provenance,
    Record,
    check_generator,
    complete_steps,
    record_generator,
    step_folder,
)
from training.config import TrainConfig
from training.errors import (
    CheckpointError,
    DamagedCheckpointError,
    DivergedError,
    TrainingError,
)
from training.network import InitConfig
from training.validation import VideoSampling
from training.versions import PublishedVersion

VERSION = PublishedVersion("tiny@1", "manifest.json", "0" * 64)


def plain(config: TrainConfig) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(canonical_json(config))
    return found


def store(home: Home, step: int, config: dict[str, Any], *, skipped: int = 0) -> Path:
    """A checkpoint of the run `it`, whose files hold no weights; nothing here reads any."""
    folder = step_folder(home.checkpoints / "it", step)
    folder.mkdir(parents=True)
    files = {f"state-{part}.safetensors": f"{step} {part}".encode() * 999 for part in range(3)}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    origin = Provenance(
        "it", "stage_1", "tiny", config, VERSION.reference, VERSION.sha256, None, 3, "old"
    )
    record = Record(origin, step, step, 1, None, hashes, skipped)
    (folder / "record.json").write_text(json.dumps(record.document()))
    return folder


def begin(config: TrainConfig | None = None) -> Beginning:
    return Beginning(config or tiny_config(steps=20), "it", VERSION, may_resume=True)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "name", "reason"),
    [
        (cut_short, "state-1.safetensors", "state-1.safetensors are not what was written"),
        (flip_a_bit, "state-2.safetensors", "state-2.safetensors are not what was written"),
        (Path.unlink, "state-0.safetensors", "it lacks state-0.safetensors"),
        (cut_short, "record.json", "record.json cannot be read"),
        (Path.unlink, "record.json", "it lacks record.json"),
    ],
)
def test_a_damaged_checkpoint_is_passed_over_loudly(
    home: Home, damage: Any, name: str, reason: str
) -> None:
    folders = [store(home, step, plain(tiny_config())) for step in (2, 4, 6)]
    damage(folders[2] / name)
    said: list[str] = []
    assert job_of(begin(), home, said.append).resume == 4
    (warning,) = said
    assert warning.startswith("warning: the checkpoint at step 6 is damaged")
    assert reason in warning and "2 steps are done again" in warning
    # It can neither be taken for the newest again, nor push a sound one out of those that are kept.
    assert complete_steps(home.checkpoints / "it") == [2, 4]
    aside = home.checkpoints / "it" / "damaged-step-00000006"
    assert aside.is_dir() and str(aside) in warning
    aside.rename(folders[2])  # nobody has mended it
    assert job_of(begin(), home, said.append).resume == 4


def test_a_run_goes_on_beside_a_damaged_generator_and_says_so(home: Home) -> None:
    folder = store(home, 4, plain(tiny_config()))
    weights = folder / "generator" / "transformer" / "weights.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"averaged" * 999)
    said: list[str] = []
    # As a checkpoint was written before its generator was hashed.
    document = json.loads((folder / "record.json").read_text())
    del document["generator"]
    (folder / "record.json").write_text(json.dumps(document))
    assert job_of(begin(), home, said.append).resume == 4 and not said
    check_generator(folder / "generator")

    record_generator(folder)
    assert job_of(begin(), home, said.append).resume == 4 and not said
    flip_a_bit(weights)
    assert job_of(begin(), home, said.append).resume == 4
    (warning,) = said
    assert warning.startswith("warning: going on from step 4")
    assert "generator/transformer/weights.safetensors are not what was written" in warning
    assert f"`tempo export {folder} --to DIR` makes another" in warning
    weights.unlink()
    with pytest.raises(DamagedCheckpointError, match=r"it lacks generator/transformer/weights"):
        check_generator(folder / "generator")
    # A person may delete the whole of it, for its room.
    shutil.rmtree(folder / "generator")
    check_generator(folder / "generator")
    assert job_of(begin(), home, said.append).resume == 4 and len(said) == 1


@pytest.mark.parametrize("call", ["open", "is_file", "is_dir"])
def test_a_run_goes_on_beside_a_generator_that_cannot_be_read(
    home: Home, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    folder = store(home, 4, plain(tiny_config()))
    (folder / "generator").mkdir()
    (folder / "generator" / "weights.safetensors").write_bytes(b"averaged" * 999)
    record_generator(folder)
    answered = getattr(Path, call)

    def unanswered(path: Path, *args: Any, **options: Any) -> Any:
        if "generator" in path.parts:
            raise OSError(errno.EIO, "Input/output error")
        return answered(path, *args, **options)

    monkeypatch.setattr(Path, call, unanswered)
    said: list[str] = []
    assert job_of(begin(), home, said.append).resume == 4
    (warning,) = said
    assert warning.startswith("warning: going on from step 4")
    assert "cannot be read ([Errno 5] Input/output error): see to the disk" in warning
    with pytest.raises(CheckpointError, match="cannot be read") as refused:
        check_generator(folder / "generator")
    assert not isinstance(refused.value, DamagedCheckpointError)


def test_a_damaged_generator_is_refused_however_it_is_named(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = store(home, 4, plain(tiny_config()))
    generator = folder / "generator"
    (generator / "transformer").mkdir(parents=True)
    weights = generator / "transformer" / "weights.safetensors"
    weights.write_bytes(b"averaged" * 999)
    record_generator(folder)
    flip_a_bit(weights)

    def refused(named: Path) -> bool:
        remedy = r"weights\.safetensors are not .*; `tempo export .*step-00000004 --to DIR` makes"
        with pytest.raises(DamagedCheckpointError, match=remedy) as damaged:
            check_generator(named)
        return damaged.value.folder.samefile(folder) and "name another" not in str(damaged.value)

    link = tmp_path / "link"
    link.symlink_to(generator)
    assert refused(generator) and refused(link)
    monkeypatch.chdir(generator)
    assert refused(Path())
    monkeypatch.chdir(generator / "transformer")
    assert refused(Path(".."))
    # It was moved where there is room, and left a link.
    generator.rename(tmp_path / "roomy")
    generator.symlink_to(tmp_path / "roomy")
    assert refused(generator)
    # Elsewhere nothing is known of it.
    check_generator(tmp_path / "roomy")


def test_where_nothing_sound_is_left_nothing_is_begun_anew(home: Home) -> None:
    flip_a_bit(store(home, 2, plain(tiny_config())) / "state-0.safetensors")
    (store(home, 4, plain(tiny_config())) / "record.json").unlink()
    with pytest.raises(
        CheckpointError,
        match=r"no sound checkpoint is left in .*\n  step 4: it lacks record.json\n  step 2: state",
    ):
        job_of(begin(), home, print)
    assert complete_steps(home.checkpoints / "it") == [2, 4], "nothing was touched"


def test_of_a_run_that_is_done_only_the_record_is_read(home: Home) -> None:
    folders = [store(home, step, plain(tiny_config())) for step in (2, 4)]
    flip_a_bit(folders[1] / "state-0.safetensors")
    said: list[str] = []
    assert job_of(begin(tiny_config(steps=4)), home, said.append).resume == 4
    assert not said and complete_steps(home.checkpoints / "it") == [2, 4]
    # More steps are asked for: now its weights count.
    assert job_of(begin(tiny_config(steps=5)), home, said.append).resume == 2


def test_a_run_does_not_begin_from_damaged_weights(home: Home) -> None:
    folder = store(home, 2, plain(tiny_config()))
    flip_a_bit(folder / "state-0.safetensors")
    config = tiny_config()
    network = dataclasses.replace(config.network, init=InitConfig("checkpoint", "it"))
    with pytest.raises(DamagedCheckpointError, match="name another one"):
        init_in(home, dataclasses.replace(config, network=network))


def test_a_run_does_not_begin_from_weights_of_other_latents(home: Home) -> None:
    config = tiny_config()
    network = dataclasses.replace(config.network, init=InitConfig("checkpoint", "it"))
    config = dataclasses.replace(config, network=network)
    recorded = plain(tiny_config())
    del recorded["codec"]["scale"]  # a run that was begun before there were scales
    folder = store(home, 2, recorded)
    assert init_in(home, config).network.init.source == str(folder)
    scaled = dataclasses.replace(config, codec=CodecSpec("dct", scale="pixels"))
    with pytest.raises(CheckpointError, match=r"dct, scale channels, here dct, scale pixels"):
        init_in(home, scaled)
    del recorded["codec"]
    store(home, 4, recorded)
    with pytest.raises(CheckpointError, match="it does not say its codec"):
        init_in(home, config)


def test_how_videos_are_sampled_may_change_in_a_run(home: Home) -> None:
    store(home, 2, plain(tiny_config()))
    sampled = dataclasses.replace(
        tiny_config().validation, sampling=VideoSampling("euler", (3, 2, 1))
    )
    changed = dataclasses.replace(tiny_config(steps=20), validation=sampled)
    assert job_of(begin(changed), home, print).resume == 2
    with pytest.raises(ValueError, match="give at least 1 each"):
        VideoSampling(steps=(3, 0, 1))


def fields(config: dict[str, Any], above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The place of every field, at any depth."""
    found = []
    for name, value in config.items():
        found.append((*above, name))
        if isinstance(value, dict):
            found += fields(value, (*above, name))
    return found


def without(config: dict[str, Any], place: tuple[str, ...]) -> dict[str, Any]:
    """A config as it was recorded before it had a field."""
    name, *below = place
    if not below:
        return {key: value for key, value in config.items() if key != name}
    return config | {name: without(config[name], tuple(below))}


def of_default(config: TrainConfig, place: tuple[str, ...]) -> bool:
    """Whether a field stands at its default, as one does that was added since."""
    owner: Any = config
    for name in place[:-1]:
        owner = getattr(owner, name)
    (field,) = (field for field in dataclasses.fields(owner) if field.name == place[-1])
    default = field.default
    if field.default_factory is not dataclasses.MISSING:
        default = field.default_factory()
    return bool(getattr(owner, place[-1]) == default)


def test_a_field_that_was_added_since_is_at_its_default(home: Home) -> None:
    """Each field in turn is the one that the record does not know yet."""
    config = tiny_config()
    added = [place for place in fields(plain(config)) if of_default(config, place)]
    assert ("optimiser", "final_share") in added and len(added) > 20
    for place in added:
        origin = Provenance(
            "it", "stage_1", "tiny", without(plain(config), place), "tiny@1", "0", None, 3, "old"
        )
        assert config_of(origin) == config, place
    store(home, 2, without(plain(config), ("optimiser", "final_share")))
    assert job_of(begin(), home, print).resume == 2


def test_a_field_that_was_added_since_is_not_set_on_the_way(home: Home) -> None:
    config = tiny_config()
    store(home, 2, without(plain(config), ("optimiser", "final_share")))
    optimiser = dataclasses.replace(config.optimiser, final_share=0.5)
    with pytest.raises(TrainingError, match=r"other values of optimiser\.final_share: give it"):
        job_of(begin(dataclasses.replace(config, optimiser=optimiser)), home, print)


def test_a_field_that_there_is_none_of_any_more_is_not_dropped(home: Home) -> None:
    config = plain(tiny_config())
    store(home, 2, config | {"optimiser": config["optimiser"] | {"nesterov": True}})
    with pytest.raises(CheckpointError, match=r"begun with optimiser\.nesterov = True.*\(old\)"):
        job_of(begin(), home, print)


def test_a_run_that_diverged_goes_on_only_when_it_is_told_to(home: Home) -> None:
    config = tiny_config()
    store(home, 12, plain(config), skipped=config.optimiser.max_skipped)
    with pytest.raises(DivergedError, match="step 11: gradients were not finite in 10 steps"):
        job_of(begin(), home, print)
    optimiser = dataclasses.replace(config.optimiser, max_skipped=20)
    patient = dataclasses.replace(config, optimiser=optimiser)
    assert job_of(begin(patient), home, print).resume == 12
