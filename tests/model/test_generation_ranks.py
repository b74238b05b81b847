"""One, two and four processes make the same video, to the bit, at any fixed batch."""

import dataclasses
import itertools
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from benchmarks.codec import LiveBytes
from model import presets
from model.dit import MultiMaskDiT
from model.presets import DiTConfig, tiny
from model.schedule import Schedule
from model.tree import plan_tree
from model.work import Execution, batches, rounds, window_bytes
from tests.ranks import run_ranks


def test_ranks_make_the_same_video(tmp_path: Path) -> None:
    process, store = "tests.model.process_for_generation", tmp_path / "store"
    run_ranks(process, 4, store, tmp_path / "videos.safetensors")
    videos = load_file(tmp_path / "videos.safetensors")
    assert len(videos) == 12
    for size, order in itertools.product((4, 2, 1), ("breadth", "depth")):
        # One by one, the order does not matter either; else it decides which windows are together.
        assert torch.equal(videos[f"{size} {order} 1"], videos["1 breadth 1"]), (size, order)
        assert torch.equal(videos[f"{size} {order} 2"], videos[f"1 {order} 2"]), (size, order)
    together = (videos[f"1 {order} 2"] for order in ("breadth", "depth"))
    torch.testing.assert_close(*together, rtol=0, atol=1e-4)


def test_every_rank_has_work() -> None:
    plan = plan_tree(Schedule.parse("f(6,12,24)m(1,2,4)"), 97)

    def names(execution: Execution, ranks: int) -> list[list[str]]:
        formed = batches(plan, execution, 2, tiny(), ranks, 4)
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
    formed = batches(plan, Execution(batch=3), 2, tiny(), 1, 4)
    assert sorted(node.id for batch in formed for node in batch) == sorted(
        node.id for node in plan.nodes
    )
    for batch in formed:
        assert len({(node.level, node.latent_count) for node in batch}) == 1
    assert max(map(len, formed)) == 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [presets.tiny(), presets.debug(), presets.shape_1_3b()])
def test_a_window_takes_what_is_counted(size: DiTConfig, dtype: torch.dtype) -> None:
    """Against the tensors that are alive at once in a forward, one block standing for all."""
    torch.set_num_threads(1)
    tokens, config = 4 * 8 * 8, dataclasses.replace(size, num_layers=1, text_dim=32)
    with torch.device("meta"):
        network = MultiMaskDiT.of(config).eval().requires_grad_(False)
    for name, parameter in network.named_parameters():
        islands = MultiMaskDiT._keep_in_fp32_modules
        if not any(island in name for island in islands):
            parameter.data = parameter.data.to(dtype)
    # Uninitialised: numbers do not matter here, and random ones take seconds at the 1.3B width.
    network = network.to_empty(device="cpu")
    given = torch.zeros(1, 36, 4, 16, 16, dtype=dtype), torch.zeros(1)
    text = torch.zeros(1, 4, config.text_dim, dtype=dtype)
    with torch.no_grad(), LiveBytes([*network.parameters(), *network.buffers()]) as live:
        network(*given, text, return_dict=False, temporal_positions=torch.arange(4.0)[None])
    counted = window_bytes(config, tokens, network.dtype.itemsize)
    assert live.peak / counted == pytest.approx(1, abs=0.05)


def test_batches_take_the_numbers_of_the_network() -> None:
    plan = plan_tree(Schedule.parse("f(6,12,24)m(1,2,4)"), 97)
    memory = 4 * window_bytes(tiny(), 2 * 7, 2)
    longest = [
        max(map(len, batches(plan, Execution(memory=memory), 2, tiny(), 1, itemsize)))
        for itemsize in (2, 4)
    ]
    assert longest == [4, 2]
