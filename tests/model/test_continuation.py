"""Going on from a video: what was there stays, rounds follow each other, joints are measured."""

import dataclasses
from collections.abc import Iterator

import pytest
import torch

from model.continuation import (
    JointMeter,
    Lengths,
    extend,
    first_round,
    round_plans,
    usable_overlap,
)
from model.generation import Segment, TreeGenerator
from model.request import Change, Request
from model.schedule import Schedule
from model.work import Execution
from tests.model.tiny_generator import HEIGHT, SCHEDULE, STEPS, WIDTH, tiny_generator, tiny_request

LENGTHS = Lengths(overlap=17, new=64)
TREE = Schedule.parse(SCHEDULE, steps=STEPS)


@pytest.fixture(scope="module")
def generator() -> TreeGenerator:
    return tiny_generator()


def film(frames: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(4)
    return torch.rand(3, frames, HEIGHT, WIDTH, generator=generator) * 2 - 1


def request_for(video: torch.Tensor, frames: int) -> Request:
    plan, given = first_round(video, frames, TREE, LENGTHS)
    return dataclasses.replace(tiny_request(), plan=plan, given=given)


def test_rounds_go_on_from_each_other(generator: TreeGenerator) -> None:
    video, requests = film(30), list[Request]()

    def generate(request: Request) -> Iterator[Segment]:
        requests.append(request)
        return generator.generate(request, Execution(batch=1))

    untouched = video.clone()
    segments = list(extend(video, 100, request_for(video, 100), generate, LENGTHS))
    assert torch.equal(video, untouched)
    # Each frame once, in order, right after what was given.
    places = [s.first + n for s in segments for n in range(s.frames.shape[1])]
    assert places == list(range(30, 130))
    whole = torch.cat([video, *(segment.frames for segment in segments)], dim=1)
    first, second = requests
    assert round_plans(30, 100, TREE, LENGTHS) == [first.plan, second.plan]
    assert (first.plan.prefix, first.plan.frames) == (17, 17 + 64)
    assert (second.plan.prefix, second.plan.frames) == (17, 17 + 36)
    # What a round is given is what stands in the video, to the bit: it was never encoded again.
    for at, request in ((30, first), (94, second)):
        given = torch.stack([request.given[n] for n in range(17)], dim=1)
        assert torch.equal(given, whole[:, at - 17 : at])
    assert first.seed_of(first.plan.nodes[0]) != second.seed_of(second.plan.nodes[0])


def test_a_node_of_a_later_round_is_changed(generator: TreeGenerator) -> None:
    def made(later: dict[int, dict[str, Change]]) -> list[torch.Tensor]:
        video = film(30)

        def generate(request: Request) -> Iterator[Segment]:
            return generator.generate(request, Execution(batch=1))

        first = request_for(video, 128)
        parts = list(extend(video, 128, first, generate, LENGTHS, later))
        return list(torch.cat([part.frames for part in parts], dim=1).unbind(dim=1))

    last = len(TREE.rates) - 1
    leaf = f"{last}.{TREE.segments[-1] - 1}"
    plain, other = made({}), made({1: {leaf: Change(seed=7)}})
    same = [torch.equal(a, b) for a, b in zip(plain, other, strict=True)]
    assert all(same[:64])
    assert 64 < same.index(False) < 128


def test_only_the_root_sees_the_past() -> None:
    plan, given = first_round(film(40), 64, TREE, LENGTHS)
    assert plan.node("0.0").start == 0
    assert {node.start for node in plan.level(1)} == {16, 48}
    assert sorted(given) == list(range(17))


def test_overlaps_end_on_the_first_level() -> None:
    assert usable_overlap(500, 121, TREE) == 121
    assert usable_overlap(120, 121, TREE) == 117
    assert usable_overlap(3, 121, TREE) == 1
    with pytest.raises(ValueError, match="no frame to continue from"):
        usable_overlap(0, 121, TREE)


def test_refused_continuations() -> None:
    with pytest.raises(ValueError, match="at least one more"):
        first_round(film(9), 0, TREE)
    with pytest.raises(ValueError, match="must reach 24 fps"):
        first_round(film(9), 48, Schedule.parse("f(6,12)m(1,2)"))


def test_joints_are_measured() -> None:
    before = torch.zeros(3, 20, 2, 2)
    after = torch.full((3, 30, 2, 2), 0.5)
    after[0] = 0.25
    meter = JointMeter(before)
    meter.watch(Segment("a", 20, 1, after[:, :5]))  # shorter than half a second
    meter.watch(Segment("b", 25, 1, after[:, 5:]))
    first, second = sorted(meter.finish(), key=lambda joint: joint.frame)
    assert (first.frame, second.frame) == (20, 25)
    assert first.mean_before == (0, 0, 0)
    assert first.mean_after == (0.25, 0.5, 0.5)
    assert first.std_after == (0, 0, 0)
    assert first.step == pytest.approx(1.25 / 3, abs=1e-5)
    assert first.usual_step == 0
    assert second.step == 0
    assert second.mean_before[0] == pytest.approx(0.25 * 5 / 12, abs=1e-5)


def test_the_first_segment_of_all_has_no_joint() -> None:
    meter = JointMeter()
    meter.watch(Segment("a", 0, 1, torch.zeros(3, 3, 2, 2)))
    assert meter.finish() == []
