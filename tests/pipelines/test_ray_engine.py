"""The engine on a real cluster of two nodes: the local engine's outcomes, and nodes that die."""

import dataclasses
import functools
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from curation.errors import FilmError
from pipelines.crew import Limits, StageSetupError
from pipelines.curate import curate
from pipelines.engine import WINDOW_PER_WORKER, Done, Failed, SerialEngine, Stage
from pipelines.job import Silence
from pipelines.ray_engine import PLACEMENT_SECONDS, RayEngine
from pipelines.settings import Home
from tests.pipelines import process_for_evaluation as evaluations
from tests.pipelines import stages_for_engine as stages
from tests.pipelines.ray_cluster import TwoNodes
from tests.pipelines.tiny_library import catalog_rows, published_files, render, request

MIB = 2**20
PATIENT = Limits(timeout_seconds=60.0, memory_bytes=2048 * MIB)


@pytest.fixture(scope="module")
def cluster() -> Iterator[TwoNodes]:
    nodes = TwoNodes()
    yield nodes
    nodes.shutdown()


def test_what_goes_wrong_costs_the_same_as_at_home(cluster: TwoNodes) -> None:
    limits = Limits(timeout_seconds=12.0, memory_bytes=400 * MIB)
    stage: Stage[None, str, object]
    stage = Stage("misbehave", stages.nothing, stages.misbehave, limits)
    items = ["one", "segfault", "two", "hang", "eat", "film error", "exit 0", "three"]
    outcomes = {outcome.item: outcome for outcome in cluster.engine(3).map(stage, items)}
    assert set(outcomes) == set(items)
    done = {item: out.value for item, out in outcomes.items() if isinstance(out, Done)}
    assert done == {"one": "eno", "two": "owt", "three": "eerht"}
    failed = {item: out for item, out in outcomes.items() if isinstance(out, Failed)}
    kinds = {item: outcome.kind for item, outcome in failed.items()}
    assert kinds == {
        "segfault": "crash", "hang": "timeout", "eat": "memory",
        "film error": "error", "exit 0": "crash",
    }  # fmt: skip
    assert "SIGSEGV" in failed["segfault"].message
    assert isinstance(failed["film error"].error, FilmError)
    assert "in misbehave" in failed["film error"].trace


def test_each_foreman_sets_up_once_and_items_come_as_outcomes_are_taken(
    cluster: TwoNodes, tmp_path: Path
) -> None:
    setup = functools.partial(stages.note_setup, tmp_path)
    stage = Stage("note", setup, stages.compare_state, PATIENT)
    taken = 0

    def endless() -> Iterator[int]:
        nonlocal taken
        while True:
            taken += 1
            yield taken

    outcomes = cluster.engine(2).map(stage, endless())
    assert taken == 0
    states: list[tuple[int, int]] = []
    latest = time.monotonic() + 60
    # One may have done many items before the other is up, on a busy machine.
    while len(states) < 39 or len({process for _, process in states}) < 2:
        assert time.monotonic() < latest, "the second foreman takes no items"
        outcome = next(outcomes)
        assert isinstance(outcome, Done)
        states.append(outcome.value)
        assert taken - len(states) < 2 * WINDOW_PER_WORKER
    outcomes.close()  # type: ignore[attr-defined]  # an Iterator here, a generator in fact
    assert all(state == process for state, process in states)
    marks = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert list(marks.values()) == ["setup\n", "setup\n"]


def test_a_setup_that_fails_ends_the_map_with_its_cause(cluster: TwoNodes) -> None:
    stage = Stage("score", stages.broken_setup, stages.square, PATIENT)
    with pytest.raises(StageSetupError, match=r"'score'.*no_weights") as caught:
        list(cluster.engine(2).map(stage, range(100)))
    assert isinstance(caught.value.__cause__, FilmError)


def test_a_stage_that_no_node_can_take_is_refused(cluster: TwoNodes) -> None:
    limits = Limits(timeout_seconds=60.0, memory_bytes=2048 * MIB, gpus=1)
    stage = Stage("square", stages.nothing, stages.square, limits)
    engine = cluster.engine(2, placement_seconds=1.0)
    with pytest.raises(StageSetupError, match=r"1 CPUs and 1 GPUs free in 1 s"):
        list(engine.map(stage, range(3)))


def test_when_all_nodes_that_fit_are_lost_the_map_ends(cluster: TwoNodes) -> None:
    """Only the second node has two cores; what it has not done is not waited for forever.

    The patience also has to last until its first worker is up, on a busy machine too, and there is
    more to do than a worker can do before it notices that its node is gone.
    """
    limits = dataclasses.replace(PATIENT, cpus=2)
    stage = Stage("square", stages.nothing, stages.square_in_a_second, limits)
    outcomes = cluster.engine(2, placement_seconds=12.0).map(stage, range(100))
    first = next(outcomes)
    assert isinstance(first, Done)
    assert first.value == first.item**2
    cluster.kill_second()
    with pytest.raises(StageSetupError, match=r"2 CPUs and 0 GPUs free in 12 s.*TEMPO_RAY_SECONDS"):
        list(outcomes)


@pytest.mark.usefixtures("cluster")
def test_the_patience_is_named_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert RayEngine(1).placement_seconds == PLACEMENT_SECONDS
    monkeypatch.setenv("TEMPO_RAY_SECONDS", "90")
    assert RayEngine(1).at_most(1).placement_seconds == 90.0
    for wrong in ("0", "soon", "nan"):
        monkeypatch.setenv("TEMPO_RAY_SECONDS", wrong)
        with pytest.raises(ValueError, match="TEMPO_RAY_SECONDS"):
            RayEngine(1)


def test_more_foremen_than_there_is_room_for_take_no_item_with_them(cluster: TwoNodes) -> None:
    stage = Stage("square", stages.nothing, stages.square, PATIENT)
    outcomes = list(cluster.engine(6).map(stage, range(60)))
    values = {outcome.item: outcome.value for outcome in outcomes if isinstance(outcome, Done)}
    assert values == {number: number * number for number in range(60)}


def test_an_item_that_fells_its_foreman_is_given_up_alone(cluster: TwoNodes) -> None:
    stage: Stage[None, str, str] = Stage("kill", stages.nothing, stages.kill_foreman, PATIENT)
    words = ["one", "two", "poison", "three"]
    outcomes = {out.item: out for out in cluster.engine(2, tries=2).map(stage, words)}
    poison = outcomes.pop("poison")
    assert isinstance(poison, Failed)
    assert (poison.kind, "lost 2 times" in poison.message) == ("crash", True)
    values = {item: out.value for item, out in outcomes.items() if isinstance(out, Done)}
    assert values == {"one": "eno", "two": "owt", "three": "eerht"}


def test_what_a_lost_node_held_is_done_elsewhere(cluster: TwoNodes) -> None:
    stage: Stage[None, int, list[int]]
    stage = Stage("slow", stages.nothing, stages.slowly_somewhere, PATIENT)
    engine = cluster.engine(3)
    second = cluster.second
    done: dict[int, list[int]] = {}
    killed = False
    for outcome in engine.map(stage, range(24)):
        assert isinstance(outcome, Done)
        assert outcome.item not in done
        done[outcome.item] = outcome.value
        if not killed and sum(second in above for above in done.values()) >= 2:
            cluster.kill_second()
            killed = True
    assert killed
    assert set(done) == set(range(24))
    assert sum(second not in above for above in done.values()) > 8


class NodeKiller(Silence):
    """Kills the second node after the first film of the scan."""

    def __init__(self, cluster: TwoNodes) -> None:
        self.cluster = cluster
        self.name = ""
        self.killed_during = ""

    def stage(self, name: str, total: int) -> None:  # noqa: ARG002 - a Progress
        self.name = name

    def advance(self) -> None:
        if self.name == "scan" and not self.killed_during:
            self.killed_during = self.name
            self.cluster.kill_second()


def test_an_evaluation_has_the_numbers_of_one_process(cluster: TwoNodes, tmp_path: Path) -> None:
    checkpoint, suite = evaluations.write_generator(tmp_path / "g"), tmp_path / "suite"
    suite.mkdir()
    prompts = evaluations.write_two_prompts(suite)
    config = dataclasses.replace(evaluations.CONFIG, schedules=(evaluations.COARSE,))
    serial, clustered = (
        evaluations.run(Home(tmp_path / name), checkpoint, prompts, config, engine)
        for name, engine in (("serial", SerialEngine()), ("clustered", cluster.engine(2)))
    )
    assert (serial.made, clustered.made) == (2, 2)
    assert evaluations.lasting(clustered) == evaluations.lasting(serial)


def test_a_curation_that_loses_a_node_gives_the_same_bytes(
    cluster: TwoNodes, tmp_path: Path
) -> None:
    films = render(tmp_path / "films")
    serial, clustered = Home(tmp_path / "serial"), Home(tmp_path / "clustered")
    curate(request(films), serial, SerialEngine(), Silence())
    killer = NodeKiller(cluster)
    curate(request(films), clustered, cluster.engine(3), killer)
    assert killer.killed_during == "scan"
    assert published_files(clustered) == published_files(serial)
    assert catalog_rows(clustered) == catalog_rows(serial)
