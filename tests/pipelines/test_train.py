"""Training as a user starts it: rows, folders, export, failures by name, ranks that die along."""

import dataclasses
import hashlib
import json
import math
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel

from curation.catalog.store import Catalog
from curation.records import CheckpointRow, RunRow
from model.generator_folder import load_generator, read_spec
from pipelines.evaluate_config import EvaluateRequest
from pipelines.evaluate_plan import prepare
from pipelines.export import export, replay
from pipelines.job import Silence
from pipelines.recipes.evaluation import evaluate_debug_cpu
from pipelines.recipes.training import RECIPES, training_recipe
from pipelines.settings import Home, with_overrides
from pipelines.train import Trained, TrainRequest, train
from pipelines.train_begin import checkpoint_at, checkpoint_id, config_of
from pipelines.train_ranks import Failure, Machine, first_of, read_hostfile
from tests.conftest import REPOSITORY
from tests.pipelines.test_cli import tempo
from tests.training.tiny_dataset import TinyDataset
from training.checkpoint_record import check_generator, read_record
from training.errors import (
    CheckpointError,
    DamagedCheckpointError,
    DivergedError,
    RankError,
    TrainingError,
)

SMALL = [
    "network.size.num_layers=1", "network.size.num_attention_heads=2", "network.size.ffn_dim=32",
    "network.size.attention_head_dim=16", "data.windows.sizes=[[48,32]]", "data.windows.lengths=9",
    "data.windows.cap=9", "validation.windows=2", "log.every=1", "checkpoint.every=2",
    "checkpoint.keep_last=9",
]  # fmt: skip


class Listener(Silence):
    """Keeps what a job says."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, tiny: TinyDataset) -> Home:
    folder = tmp_path_factory.mktemp("train") / "home"
    shutil.copytree(tiny.home, folder)
    return Home(folder)


def request(*settings: str, training: str = "small", ranks: int = 2) -> TrainRequest:
    config = with_overrides(training_recipe("train_debug_cpu"), [*SMALL, *settings])
    return TrainRequest(config, "tiny", training, ranks)


@pytest.fixture(scope="module")
def trained(home: Home) -> tuple[Trained, Listener]:
    listener = Listener()
    return train(request("steps=2"), home, listener), listener


def test_what_a_run_leaves(home: Home, trained: tuple[Trained, Listener]) -> None:
    made, listener = trained
    assert made.dataset == "tiny@1"
    assert made.checkpoint == home.checkpoints / "small" / "step-00000002"
    assert made.generator == made.checkpoint / "generator"
    assert any("step 2/2: loss" in said and "tokens/s" in said for said in listener.said)
    assert any("never reaches optimiser.lr" in said for said in listener.said)
    assert made.samples == home.runs / "small" / "samples" / "step-00000002.png"
    assert f"video {made.samples}" in listener.said
    record = read_record(made.checkpoint)
    assert config_of(record.provenance) == request("steps=2").config
    with Catalog.open(home.catalog()) as catalog:
        (row,) = catalog.rows(CheckpointRow)
        (run,) = catalog.rows(RunRow, {"kind": "train"})
    assert row.checkpoint_id == checkpoint_id("small", 2)
    assert (row.step, row.dataset, row.version, row.world_size) == (2, "tiny", 1, 2)
    assert home.root / row.uri == made.checkpoint
    assert row.val_loss == made.val_loss is not None
    assert row.weights_sha256 == record.weights_sha256
    assert row.dataset_seconds > 0
    assert run.status == "ok"
    assert json.loads(run.summary)["steps"] == 2


def test_a_finished_run_is_left_alone(home: Home, trained: tuple[Trained, Listener]) -> None:
    listener = Listener()
    again = train(request("steps=2", ranks=1), home, listener)
    assert again.checkpoint == trained[0].checkpoint
    assert "small is at step 2 already" in listener.said


@pytest.mark.usefixtures("trained")
def test_another_config_is_no_resumption(home: Home) -> None:
    with pytest.raises(TrainingError, match=r"other values of optimiser\.lr: give it another"):
        train(request("steps=2", "optimiser.lr=1e-5"), home, Listener())
    never = TrainRequest(request("steps=2").config, "tiny", "small", resume="never")
    with pytest.raises(TrainingError, match="resume is 'never'"):
        train(never, home, Listener())


@pytest.mark.usefixtures("trained")
def test_export(home: Home, tmp_path: Path) -> None:
    to = export(home, "small", tmp_path / "generator", "float32")
    network = WanTransformer3DModel.from_pretrained(to / "transformer")
    assert network.config["num_layers"] == 1
    assert load_generator(to).codec.fingerprint.startswith("dct")
    with pytest.raises(ValueError, match="holds something already"):
        export(home, "small", to, "float32")


def test_a_damaged_generator_is_refused_and_made_anew(
    trained: tuple[Trained, Listener], tmp_path: Path
) -> None:
    """By a copy of the checkpoint, as it lies on another disk."""
    copy = Home(tmp_path / "home").checkpoints / "small" / trained[0].checkpoint.name
    shutil.copytree(trained[0].checkpoint, copy)
    files = {path for path in (copy / "generator").rglob("*") if path.is_file()}
    assert {copy / name for name in read_record(copy).generator} == files and len(files) > 2
    config = copy / "generator" / "transformer" / "config.json"
    config.write_text(config.read_text() + " ")
    judged = EvaluateRequest(evaluate_debug_cpu(), copy, "any")
    with pytest.raises(DamagedCheckpointError, match=r"transformer/config\.json are not"):
        prepare(judged, Home(tmp_path / "home"))
    generated = tempo("generate", "--checkpoint", str(copy / "generator"), "--prompt", "a ball",
                      "--out", str(tmp_path / "ball.mp4"))  # fmt: skip
    assert generated.returncode == 1
    assert "generator/transformer/config.json are not what was written" in generated.stderr
    assert not list(tmp_path.glob("ball*"))
    export(Home(tmp_path / "home"), "small", tmp_path / "mended", "float32")
    ours = {path.relative_to(copy / "generator") for path in files}
    assert all((tmp_path / "mended" / name).is_file() for name in ours)
    # As the refusal has it: another may stand in its place.
    shutil.rmtree(copy / "generator")
    (tmp_path / "mended").rename(copy / "generator")
    check_generator(copy / "generator")
    # So it is where tempo.json had no window_cap yet.
    older = dataclasses.replace(read_spec(copy / "generator"), window_cap=None).description()
    record = json.loads((copy / "record.json").read_text())
    written = hashlib.sha256(older.encode()).hexdigest()
    assert record["generator"].pop("generator/tempo.json") != written
    record["generator"]["generator/tempo.json"] = written
    (copy / "record.json").write_text(json.dumps(record))
    with pytest.raises(DamagedCheckpointError, match=r"generator/tempo\.json are not"):
        check_generator(copy / "generator")
    export(Home(tmp_path / "home"), "small", tmp_path / "older", "float32")
    shutil.rmtree(copy / "generator")
    (tmp_path / "older").rename(copy / "generator")
    check_generator(copy / "generator")


def test_checkpoints_are_found_by_name(home: Home, trained: tuple[Trained, Listener]) -> None:
    named = ("small", "small/step-00000002", str(trained[0].checkpoint))
    assert {checkpoint_at(home, name) for name in named} == {trained[0].checkpoint}
    with pytest.raises(CheckpointError, match="one of the runs small"):
        checkpoint_at(home, "large")


def test_a_run_that_diverges_stops_and_can_be_replayed(home: Home) -> None:
    """After a first step of this length nothing is finite; all ranks skip, and stop alike."""
    explosive = ["steps=9", "optimiser.lr=1e30", "optimiser.clip_norm=none", "optimiser.warmup=0"]
    listener = Listener()
    with pytest.raises(RankError, match="of 2: step 2: gradients were not finite in 2 steps"):
        train(request(*explosive, "optimiser.max_skipped=2", training="wild"), home, listener)
    assert "step 1: gradients not finite, skipped" in listener.said
    record = read_record(checkpoint_at(home, "wild"))
    assert (record.step, record.updates) == (3, 1)
    lines = (home.runs / "wild" / "skipped.jsonl").read_text().splitlines()
    skipped = [json.loads(line) for line in lines]
    assert [line["step"] for line in skipped] == [1, 2]
    replayed = replay(home, "wild", 2)
    assert replayed.checkpoint.name == "step-00000003", "whose weights no later step has changed"
    assert not any(math.isfinite(batch["grad_norm"]) for batch in replayed.batches)
    assert samples_of(replayed.batches) == samples_of(skipped[1]["batches"])
    with Catalog.open(home.catalog()) as catalog:
        runs = catalog.rows(RunRow, {"kind": "train", "status": "failed"})
    assert any("RankError" in run.summary for run in runs)
    # Steps are counted over the stop: after two that were skipped, the next one is the third.
    patient = request(*explosive, "optimiser.max_skipped=3", training="wild", ranks=1)
    with pytest.raises(RankError, match="step 3: gradients were not finite in 3 steps in a row"):
        train(patient, home, Silence())
    with pytest.raises(
        DivergedError, match="step 3: gradients were not finite in 3 steps in a row"
    ):
        train(patient, home, Silence())


class Outage(Listener):
    """Locks the catalog's database from the first checkpoint on, until that was noticed."""

    def __init__(self, home: Home) -> None:
        super().__init__()
        self.home = home
        self.rows: dict[str, list[int]] = {}
        self._other = sqlite3.connect(home.root / "catalog.db", isolation_level=None)

    def say(self, message: str) -> None:
        super().say(message)
        if message.endswith("step-00000002"):
            self._other.execute("BEGIN EXCLUSIVE")
        elif message.startswith("warning: no row yet"):
            self._other.execute("ROLLBACK")
        elif message.startswith("checkpoint "):
            with Catalog.open(self.home.catalog()) as catalog:
                rows = catalog.rows(CheckpointRow, {"training": "unlucky"})
            self.rows[message[-8:]] = sorted(row.step for row in rows)


def test_an_outage_of_the_catalog_and_a_damaged_checkpoint(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"sqlite:///{home.root / 'catalog.db'}?timeout=0.1"
    monkeypatch.setenv("TEMPO_CATALOG_URI", uri)
    outage = Outage(home)
    asked = request("steps=6", training="unlucky", ranks=1)
    made = train(asked, home, outage)
    (noticed,) = (said for said in outage.said if said.startswith("warning: no row yet"))
    assert "database is locked" in noticed
    # The next checkpoint, seen when the one after it was told of, brought both rows.
    assert outage.rows == {"00000004": [], "00000006": [2, 4]}
    assert made.steps == 6

    written = read_record(made.checkpoint).files
    (name,) = written
    (made.checkpoint / name).unlink()
    (home.checkpoints / "unlucky" / "step-00000002" / "record.json").unlink()
    listener = Listener()
    again = train(asked, home, listener)
    assert again.began_at == 4
    assert any("step 6 is damaged" in said for said in listener.said)
    # The older one stops nothing; it has its row already, and is spoken of once.
    assert sum("no row for the checkpoint at step 2" in said for said in listener.said) == 1
    assert read_record(made.checkpoint).files == written
    with Catalog.open(home.catalog()) as catalog:
        rows = catalog.rows(CheckpointRow, {"training": "unlucky"})
    assert sorted(row.step for row in rows) == [2, 4, 6]


def samples_of(batches: list[dict[str, Any]]) -> list[tuple[str, float]]:
    return sorted((s["sample_id"], s["time"]) for batch in batches for s in batch["samples"])


def threads_said(home: Home, training: str) -> str:
    """What a rank of a run, the only one, says of its threads."""
    listener = Listener()
    lean = ("steps=1", "validation.videos=none", "checkpoint.generator=false")
    train(request(*lean, training=training, ranks=1), home, listener)
    (said,) = (said for said in listener.said if said.startswith("training "))
    return said.partition("(threads each: ")[2].partition(")")[0]


def test_ranks_take_the_threads_that_the_user_gave(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    cores = os.cpu_count() or 1
    monkeypatch.setenv("OMP_NUM_THREADS", str(cores + 1))
    assert threads_said(home, "given") == str(cores + 1)
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert threads_said(home, "free") == str(cores)


def test_ranks_do_not_outlive_their_parent(home: Home) -> None:
    command = [sys.executable, "-m", "pipelines", "train", "train_debug_cpu", "--dataset", "tiny"]
    small = [word for setting in SMALL for word in ("--set", setting)]
    parent = subprocess.Popen(
        [*command, "--name", "orphans", "--gpus", "2", *small, "--home", str(home.root)],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
    )
    try:
        ranks: list[psutil.Process] = []
        while len(ranks) < 2:
            assert parent.poll() is None
            time.sleep(0.05)
            ranks = psutil.Process(parent.pid).children()
    finally:
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    _, alive = psutil.wait_procs(ranks, timeout=120)
    assert not alive


def test_who_failed_first() -> None:
    lost = Failure(0, 10.0, "RuntimeError: Connection closed by peer", killed=False, known=False)
    later = Failure(1, 11.0, "it was ended by SIGKILL", killed=True, known=False)
    earlier = Failure(1, 9.0, "no space left", killed=False, known=True)
    folder = Path("runs")
    assert "rank 1 of 2 failed first: it was ended by SIGKILL" in str(
        first_of([lost, later], 2, folder)
    )
    assert str(first_of([lost, earlier], 2, folder)) == "rank 1 of 2: no space left"
    assert str(first_of([earlier], 1, folder)) == "no space left"


def test_hostfile(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("# two machines\nnode1 slots=8\n\nme@node2 slots=4  # half\n")
    assert read_hostfile(path) == [Machine("node1", 8), Machine("me@node2", 4)]
    for wrong in ("node1", "node1 8", "-oProxyCommand=x slots=1", "a;b slots=1", "node1 slots=0"):
        path.write_text(wrong)
        with pytest.raises(ValueError, match="hostfile"):
            read_hostfile(path)


@pytest.mark.parametrize("name", RECIPES)
def test_recipes(name: str) -> None:
    config = training_recipe(name)
    assert config.recipe == name
    if name.endswith("_fixed_start"):  # Table 4: one training differs from the other in t_start
        other = training_recipe(name.removesuffix("_fixed_start"))
        mine, random = config.data.examples, other.data.examples
        assert (mine.max_start, random.max_start) == (0.0, 360.0)
        data = dataclasses.replace(config.data, examples=random)
        assert dataclasses.replace(config, recipe=other.recipe, data=data) == other
    if name.endswith("a14b"):
        assert config.data.batch.microbatches == 32
        assert (config.ema.decay, config.optimiser.weight_decay) == (0.999, 1e-4)
        assert config.optimiser.warmup == 2000
    if name == "train_stage1_a14b":
        assert (config.optimiser.lr, config.steps) == (5e-4, 15_000)
        assert "the paper's, and 25 to 50 times" in config.warnings()[0]
    if name == "train_stage2_a14b":
        assert (config.optimiser.lr, config.steps) == (2e-5, 45_000)
        assert config.network.init.kind == "checkpoint"
