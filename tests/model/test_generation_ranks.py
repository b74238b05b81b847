"""One, two and four processes make the same video, to the bit."""

from pathlib import Path

import torch
from safetensors.torch import load_file

from model.presets import tiny
from model.schedule import Schedule
from model.tree import plan_tree
from model.work import Execution, batches, rounds
from tests.ranks import run_ranks


def test_ranks_make_the_same_video(tmp_path: Path) -> None:
    process, store = "tests.model.process_for_generation", tmp_path / "store"
    run_ranks(process, 4, store, tmp_path / "videos.safetensors")
    videos = load_file(tmp_path / "videos.safetensors")
    assert len(videos) == 6
    alone = videos["1 breadth"]
    for name, video in videos.items():
        assert torch.equal(video, alone), name


def test_every_rank_has_work() -> None:
    plan = plan_tree(Schedule.parse("f(6,12,24)m(1,2,4)"), 97)

    def names(execution: Execution, ranks: int) -> list[list[str]]:
        formed = batches(plan, execution, 2, tiny(), ranks)
        return [
            [" ".join(node.id for node in batch) for batch in together]
            for together in rounds(formed, set(), ranks)
        ]

    one, depth = Execution(batch=1), Execution("depth", batch=1)
    assert names(one, 1) == [["0.0"], ["1.0"], ["1.1"], ["2.0"], ["2.1"], ["2.2"], ["2.3"]]
    assert names(one, 4) == [["0.0"], ["1.0", "1.1"], ["2.0", "2.1", "2.2", "2.3"]]
    assert names(depth, 1) == [["0.0"], ["1.0"], ["2.0"], ["2.1"], ["1.1"], ["2.2"], ["2.3"]]
    assert names(Execution("depth"), 1) == names(depth, 1)
    assert names(depth, 2) == [["0.0"], ["1.0", "1.1"], ["2.0", "2.1"], ["2.2", "2.3"]]
    assert names(Execution(), 1) == [["0.0"], ["1.0 1.1"], ["2.0 2.1 2.2 2.3"]]
    assert names(Execution(), 2) == [["0.0"], ["1.0", "1.1"], ["2.0 2.1", "2.2 2.3"]]
    assert names(Execution(memory=1), 1) == names(one, 1)


def test_batches_hold_one_shape() -> None:
    plan = plan_tree(Schedule.parse("f(6,24)m(1,7)"), 481)
    formed = batches(plan, Execution(batch=3), 2, tiny(), 1)
    assert sorted(node.id for batch in formed for node in batch) == sorted(
        node.id for node in plan.nodes
    )
    for batch in formed:
        assert len({(node.level, node.latent_count) for node in batch}) == 1
    assert max(map(len, formed)) == 3
