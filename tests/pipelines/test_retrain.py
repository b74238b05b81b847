"""Retraining on a catalog: what is decided, done, recorded, and decided the next time.

Training and evaluation are stood in for by functions that write the rows which those jobs write:
that is the seam by which a flow puts its own in, and the jobs have tests of their own.
"""

import dataclasses
import hashlib
import json
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from curation.catalog.datasets import publish_dataset
from curation.catalog.store import Catalog
from curation.identities import canonical_json
from curation.records import CheckpointRow, EvaluationRow, PromotionRow, RunRow
from pipelines.evaluate_config import EvaluateRequest
from pipelines.job import Silence
from pipelines.recipes.retraining import retrain_debug_cpu
from pipelines.retrain import Retrained, RetrainError, RetrainRequest, explain, retrain
from pipelines.settings import Home, with_overrides
from pipelines.train import TrainRequest
from pipelines.train_begin import checkpoint_id
from tests.curation.rows_for_catalog import plain, publication
from tests.pipelines.clocks import set_clock
from tests.pipelines.listening import Listener
from training.checkpoint_record import GENERATOR, Provenance, Record

MEASURE = "proxy_imaging_quality"


class Jobs:
    """Writes the rows of training and evaluation; remembers what it was asked."""

    def __init__(self, home: Home, hours: float) -> None:
        self.home, self.hours = home, hours
        self.trained: list[TrainRequest] = []
        self.level: dict[str, float] = {}
        """Training -> what its videos are judged to be worth."""
        self.complete = True

    def train(self, request: TrainRequest) -> Any:
        self.trained.append(request)
        name, _, version = request.dataset.partition("@")
        folder = self.home.checkpoints / request.training / "step-00000006"
        (folder / GENERATOR).mkdir(parents=True, exist_ok=True)
        uri = folder.relative_to(self.home.root).as_posix()
        made = plain(
            CheckpointRow,
            checkpoint_id=checkpoint_id(request.training, 6),
            step=6,
            uri=uri,
            training=request.training,
            generator_uri=f"{uri}/generator",
            dataset=name,
            version=int(version),
            dataset_seconds=self.hours * 3600,
            config=canonical_json(request.config),
        )
        with Catalog.open(self.home.catalog()) as catalog:
            catalog.append("checkpoints", [made])
        return SimpleNamespace(training=request.training, steps=6, checkpoint=folder)

    def evaluate(self, request: EvaluateRequest) -> Any:
        training = request.checkpoint.parent.name
        metrics = {MEASURE: {"mean": self.level[training], "low": 0.0, "high": 100.0}}
        done = plain(
            EvaluationRow,
            evaluation_id=f"{training} by {request.suite}",
            schedule="s",
            frames=97,
            suite_sha256=str(request.suite),
            profile="proxy",
            metrics=json.dumps(metrics),
        )
        with Catalog.open(self.home.catalog()) as catalog:
            catalog.append("evaluations", [done])
        failures = () if self.complete else ("a video",)
        evaluation = SimpleNamespace(id=done.evaluation_id, failures=failures)
        return SimpleNamespace(complete=self.complete, evaluation=evaluation, page=Path("page"))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def publish(home: Home, publish_id: str, hours: float) -> None:
    """A version whose training side has so many hours."""
    version, samples, shards = publication("films", publish_id)
    shards = [
        dataclasses.replace(shard, split="train", seconds=hours * 3600 / len(shards))
        for shard in shards
    ]
    with Catalog.open(home.catalog()) as catalog:
        publish_dataset(catalog, version, samples, shards)


def asked(*overrides: str) -> RetrainRequest:
    config = with_overrides(retrain_debug_cpu(), ["min_new_hours=1", *overrides])
    return RetrainRequest(config, "base", "films")


def rows(home: Home, kind: type[Any]) -> list[Any]:
    with Catalog.open(home.catalog()) as catalog:
        return catalog.rows(kind)


def test_first_enough_better_worse(home: Home) -> None:
    jobs = Jobs(home, 2.0)
    assert "curate it first" in explain(asked(), home).decision.reason
    publish(home, "p1", 2.0)
    jobs.level["base-films-1"] = 50.0
    first = retrain(asked(), home, jobs.train, jobs.evaluate, Silence())
    assert first.verdict
    assert first.verdict.promote
    assert first.generator == home.checkpoints / "base-films-1" / "step-00000006" / "generator"
    assert jobs.trained[0].config.network.init.kind == "random"
    # The same again: nothing is new.
    again = retrain(asked(), home, jobs.train, jobs.evaluate, Silence())
    assert not again.decision.train
    assert len(jobs.trained) == 1
    # A little more is not enough, and enough is trained on from the checkpoint that serves.
    publish(home, "p2", 2.5)
    assert "0.500 new hours since films@1" in explain(asked(), home).decision.reason
    publish(home, "p3", 3.0)
    jobs.hours, jobs.level["base-films-3"] = 3.0, 49.0
    worse = retrain(asked(), home, jobs.train, jobs.evaluate, Silence())
    init = jobs.trained[1].config.network.init
    assert (init.kind, init.source) == (
        "checkpoint",
        str(home.checkpoints / "base-films-1" / "step-00000006"),
    )
    assert worse.verdict
    assert worse.verdict.reason == f"{MEASURE} changes by -1.00, where +0 is asked for"
    assert worse.serving == first.serving
    # It is not trained again, and the next version counts from the one that serves still.
    assert "judged already and kept" in explain(asked(), home).decision.reason
    publish(home, "p4", 3.1)
    jobs.hours, jobs.level["base-films-4"] = 3.1, 51.0
    better = retrain(asked(), home, jobs.train, jobs.evaluate, Silence())
    assert better.serving == checkpoint_id("base-films-4", 6)
    decisions = sorted(rows(home, PromotionRow), key=lambda found: found.decided_at)
    assert [(found.decision, found.incumbent) for found in decisions] == [
        ("promoted", None),
        ("kept", first.serving),
        ("promoted", first.serving),
    ]
    assert json.loads(decisions[2].numbers)[MEASURE] == {
        "candidate": 51.0,
        "serving": 50.0,
        "gain": 1.0,
    }
    assert {found.status for found in rows(home, RunRow)} == {"ok"}


def test_an_incomplete_evaluation_decides_nothing(home: Home) -> None:
    publish(home, "p1", 2.0)
    jobs = Jobs(home, 2.0)
    jobs.level["base-films-1"], jobs.complete = 50.0, False
    with pytest.raises(RetrainError, match="incomplete") as undecided:
        retrain(asked(), home, jobs.train, jobs.evaluate, Silence())
    assert undecided.value.refused is None
    assert not rows(home, PromotionRow)
    assert [found.status for found in rows(home, RunRow)] == ["failed"]
    jobs.complete = True
    assert retrain(asked(), home, jobs.train, jobs.evaluate, Silence()).serving


def test_who_comes_second_waits_and_finds_all_done(home: Home) -> None:
    publish(home, "p1", 2.0)
    jobs, second = Jobs(home, 2.0), Listener()
    jobs.level["base-films-1"] = 50.0
    later: list[Retrained] = []

    def come_second() -> None:
        later.append(retrain(asked(), home, jobs.train, jobs.evaluate, second))

    thread = threading.Thread(target=come_second)

    def train(request: TrainRequest) -> Any:
        thread.start()
        assert second.waits.wait(60)
        return jobs.train(request)

    first = retrain(asked(), home, train, jobs.evaluate, Silence())
    thread.join(60)
    assert first.verdict
    assert "another retraining of base (process " in second.heard
    assert not later[0].decision.train
    assert later[0].serving == first.serving
    assert len(jobs.trained) == len(rows(home, PromotionRow)) == 1
    # Another model waits for nobody.
    other, alone = dataclasses.replace(asked(), model="other"), Listener()
    jobs.level["other-films-1"] = 50.0
    retrain(other, home, jobs.train, jobs.evaluate, alone)
    assert not alone.heard


def test_what_was_promoted_last_serves_whatever_the_clock_said(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = Jobs(home, 0.0)
    for version, days in ((1, +365), (2, -365), (3, 0)):
        set_clock(monkeypatch, days)
        jobs.hours += 2.0
        publish(home, f"p{version}", jobs.hours)
        jobs.level[f"base-films-{version}"] = 50.0 + version
        done = retrain(asked(), home, jobs.train, jobs.evaluate, Silence())
        assert done.serving == checkpoint_id(f"base-films-{version}", 6)
        assert not explain(asked(), home).decision.train
    decided = [row.decided_at for row in rows(home, PromotionRow)]
    assert len(set(decided)) == 3


def test_another_codec_is_refused_before_anything_runs(home: Home) -> None:
    earlier = "train.codec.scale=channels"
    publish(home, "p1", 2.0)
    jobs = Jobs(home, 2.0)
    jobs.level |= {"base-films-1": 50.0, "base-films-2": 51.0, "new-films-2": 52.0}
    retrain(asked(earlier), home, jobs.train, jobs.evaluate, Silence())
    publish(home, "p2", 4.0)
    told = explain(asked(), home).decision
    assert told.refused and not told.train
    assert "base-films-1 was trained on latents of another codec" in told.reason
    with pytest.raises(RetrainError) as refused:
        retrain(asked(), home, jobs.train, jobs.evaluate, Silence())
    assert str(refused.value) == told.reason
    assert refused.value.refused == explain(asked(), home)
    assert len(jobs.trained) == 1
    assert sorted(found.status for found in rows(home, RunRow)) == ["failed", "ok"]
    # Both remedies that it names.
    assert f"--set {earlier}" in told.reason and "another --model" in told.reason
    for remedied in (dataclasses.replace(asked(), model="new"), asked(earlier)):
        done = retrain(remedied, home, jobs.train, jobs.evaluate, Silence())
        assert done.verdict and done.verdict.promote
    starts = [request.config.network.init.kind for request in jobs.trained]
    assert starts == ["random", "random", "checkpoint"]


def test_what_serves_can_be_judged_before_anything_is_trained(home: Home) -> None:
    publish(home, "p1", 2.0)
    jobs = Jobs(home, 2.0)
    jobs.level |= {"base-films-1": 50.0, "base-films-2": 51.0}
    retrain(asked(), home, jobs.train, jobs.evaluate, Silence())
    publish(home, "p2", 4.0)
    serving = home.checkpoints / "base-films-1" / "step-00000006"
    weights = serving / GENERATOR / "weights"
    weights.write_bytes(b"cut sh")
    origin = Provenance("base-films-1", "stage_1", "r", {}, "films@1", None, None, 0, "code")
    written = {f"{GENERATOR}/weights": hashlib.sha256(b"cut short").hexdigest()}
    record = Record(origin, 6, 6, 1, None, {}, generator=written)
    (serving / "record.json").write_text(json.dumps(record.document()))
    remedy = f"`tempo export {serving} --to DIR` makes"
    with pytest.raises(RetrainError, match=remedy) as refused:
        retrain(asked(), home, jobs.train, jobs.evaluate, Silence())
    assert refused.value.refused == explain(asked(), home)  # what the flow's page shows
    assert not explain(asked(), home).decision.train
    shutil.rmtree(serving / GENERATOR)
    remedy = f"`tempo export {serving} --to {serving / GENERATOR}`"
    with pytest.raises(RetrainError, match=remedy):
        retrain(asked(), home, jobs.train, jobs.evaluate, Silence())
    assert len(jobs.trained) == 1
    (serving / GENERATOR).mkdir()
    weights.write_bytes(b"cut short")
    done = retrain(asked(), home, jobs.train, jobs.evaluate, Silence())
    assert done.serving == checkpoint_id("base-films-2", 6)


def test_explaining_writes_nothing(home: Home) -> None:
    publish(home, "p1", 2.0)
    assert explain(asked(), home).decision.train
    assert not rows(home, RunRow)


def test_what_could_not_be_judged_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match=r"train\.checkpoint\.generator = false"):
        asked("train.checkpoint.generator=false")
