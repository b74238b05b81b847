"""The budget of a run against what engines, optimisers and autograd are found to hold."""

import dataclasses
import gc
from collections.abc import Iterator
from typing import Any, Literal

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from model import flops, presets
from model.dit import MultiMaskDiT
from model.generator_folder import CodecSpec, TextSpec
from model.lora import LoraSettings, add_lora
from pipelines.recipes.training import RECIPES, training_recipe
from pipelines.settings import with_overrides
from training.budget import Machine, activation_bytes, buckets, budget, lora_parameters, remedy
from training.config import TrainConfig
from training.data import DataConfig
from training.ema import EmaConfig
from training.engine import EngineConfig
from training.network import InitConfig, NetworkConfig
from training.optimiser import AveragingAdamW, OptimiserConfig
from training.plan import BatchConfig
from training.recompute import Recompute, recompute
from training.windows import Bucket, WindowConfig

TEXT = 8


def config(
    *, policy: Recompute = "none", every: int = 1, layers: int = 2, **parts: Any
) -> TrainConfig:
    """A tiny run of windows of 96 x 64 pixels, 17 frames at most."""
    size = dataclasses.replace(presets.tiny(), num_layers=layers)
    windows = WindowConfig(sizes=((96, 64),), lengths=(9, 17), min_seconds=0.0)
    made: dict[str, Any] = {
        "recipe": "tiny",
        "stage": "stage_1",
        "steps": 1000,
        "network": NetworkConfig(size, recompute=policy, recompute_every=every),
        "codec": CodecSpec("dct"),
        "text": TextSpec("bytes", length=TEXT, width=size.text_dim),
        "data": DataConfig(windows=windows, batch=BatchConfig(microbatches=4, samples=3)),
        "engine": EngineConfig(zero=1),
    }
    return TrainConfig(**made | parts)


def test_parameters_gradients_and_states_are_those_of_an_optimiser() -> None:
    made = config(engine=EngineConfig(zero=0))
    network = MultiMaskDiT.of(made.network.size)
    optimiser = AveragingAdamW(list(network.parameters()), OptimiserConfig(), EmaConfig())
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    counted = budget(made, Machine())

    def held(*kinds: str) -> int:
        states = [state[kind] for state in optimiser.state.values() for kind in kinds]
        return sum(tensor.nbytes for tensor in states)

    assert counted.parameters == sum(p.numel() for p in network.parameters())
    assert counted.gpu["weights"] == sum(p.nbytes for p in network.parameters())
    assert counted.gpu["gradients"] == sum(p.grad.nbytes for p in network.parameters())
    assert counted.gpu["optimiser"] == held("exp_avg", "exp_avg_sq")
    assert counted.gpu["ema"] == held("ema")
    assert counted.host == {}


def test_adapters_are_counted_to_the_last() -> None:
    size, lora = presets.tiny(), LoraSettings(rank=3, alpha=3)
    network = MultiMaskDiT.of(size)
    trained = set(add_lora(network, lora))
    expected = sum(p.numel() for name, p in network.named_parameters() if name in trained)
    assert lora_parameters(size, lora) == expected
    network_config = NetworkConfig(size, init=InitConfig("pretrained", "x"), lora=lora)
    counted = budget(config(network=network_config, engine=EngineConfig(zero=1)), Machine())
    assert counted.trained == expected
    assert counted.parameters == sum(p.numel() for p in network.parameters())
    assert counted.gpu["optimiser"] == 8 * expected


class Kept(TorchDispatchMode):
    """Every tensor that an operation makes, and which of them are still there."""

    def __init__(self) -> None:
        super().__init__()
        self._made: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(
        self, function: Any, _: object, arguments: Any = (), named: Any = None
    ) -> Any:
        result = function(*arguments, **(named or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                self._made[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        return result

    def nbytes(self, beside: Iterator[torch.Tensor]) -> int:
        known = {tensor.untyped_storage()._cdata for tensor in beside}
        gc.collect()
        return sum(
            size
            for storage, (reference, size) in self._made.items()
            if storage not in known and not reference.expired()
        )


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("policy", "every"), [("none", 1), ("blocks", 1), ("blocks", 2), ("selective", 1)]
)
@pytest.mark.filterwarnings("ignore")
def test_activations_are_what_a_forward_leaves_behind(
    policy: Recompute, every: int, precision: Literal["float32", "bfloat16"]
) -> None:
    """Between the two lengths, so that what does not grow with the tokens drops out."""
    layers = 4
    made = config(
        policy=policy, every=every, layers=layers, engine=EngineConfig(precision=precision, zero=2)
    )
    dtype = made.engine.dtype
    network = MultiMaskDiT.of(made.network.size)
    for parameter in network.parameters():
        parameter.data = parameter.data.to(dtype)
    recompute(network, policy, every)
    network.train()

    def kept(bucket: Bucket) -> int:
        shape = 2, 36, bucket.latents, bucket.height // 8, bucket.width // 8
        latents = torch.randn(shape, dtype=dtype)
        text = torch.randn(2, TEXT, made.network.size.text_dim, dtype=dtype)
        positions = torch.arange(float(bucket.latents)).expand(2, -1)
        with (mode := Kept()):
            output = network(
                latents, torch.full((2,), 500.0), text,
                return_dict=False, temporal_positions=positions,
            )  # fmt: skip
        found = mode.nbytes(network.parameters())
        del output
        return found

    small, large = sorted(buckets(made), key=lambda bucket: bucket.frames)
    grown = kept(large) - kept(small)
    counted = activation_bytes(made, large, 2) - activation_bytes(made, small, 2)
    if policy != "none":
        # At the worst moment one block more is there; a forward does not see it.
        plain = dataclasses.replace(
            made, network=dataclasses.replace(made.network, recompute="none")
        )
        one, two = (
            dataclasses.replace(
                plain,
                network=NetworkConfig(dataclasses.replace(plain.network.size, num_layers=n)),
            )
            for n in (1, 2)
        )
        counted -= sum(
            sign * (activation_bytes(two, b, 2) - activation_bytes(one, b, 2))
            for sign, b in ((1, large), (-1, small))
        )
    assert grown == pytest.approx(counted, rel=0.01)


def test_operations_and_days_are_those_of_the_counter() -> None:
    """A step is 4 micro-batches of 3 windows of 17 frames: 5 latents of 64 x 96."""
    size = presets.tiny()
    of_window = flops.training(size, 5, 64, 96, TEXT)
    counted = budget(config(), Machine(ranks=2, peak_flops=1e9, mfu=0.5))
    assert counted.samples == 12
    assert counted.tokens == 12 * 5 * 4 * 6
    assert counted.model_flops == counted.hardware_flops == 12 * of_window
    assert counted.days == pytest.approx(1000 * 12 * of_window / (2 * 1e9 * 0.5) / 86_400)
    again = budget(config(policy="blocks"), Machine())
    assert again.model_flops == 12 * of_window
    whole = 12 * flops.training(size, 5, 64, 96, TEXT, recompute=True)
    assert again.hardware_flops == whole
    half = budget(config(policy="blocks", every=2), Machine())
    assert half.hardware_flops == (whole + again.model_flops) // 2


def test_zero_shares_out_more_and_more() -> None:
    """On 4 ranks, in bytes of P parameters, with gradients that fit one bucket."""
    parameters = budget(config(), Machine()).parameters
    share = -(-parameters // 4)
    states = {"float32 weights": 4, "float32 gradients": 4, "optimiser": 8, "ema": 4}
    expected = {
        1: {"weights": 4 * parameters, "gradients": 4 * parameters, "gathered weights": 0},
        2: {"weights": 2 * parameters, "gradients": 4 * share + 2 * parameters},
        3: {"weights": 2 * share, "gathered weights": 2 * parameters},
    }
    for stage in (1, 2, 3):
        engine = EngineConfig(precision="float32" if stage == 1 else "bfloat16", zero=stage)
        gpu = budget(config(engine=engine), Machine(ranks=4)).gpu
        assert {name: gpu[name] for name in states} == {n: b * share for n, b in states.items()}
        assert {name: gpu[name] for name in expected[stage]} == expected[stage]


def test_offloading_moves_states_to_main_memory() -> None:
    engine = EngineConfig(precision="bfloat16", zero=3)
    stays, moved, more = (
        budget(config(engine=dataclasses.replace(engine, offload=where)), Machine())
        for where in ("none", "optimiser", "all")
    )
    states = {"float32 weights", "float32 gradients", "optimiser", "ema"}
    assert stays.host == {}
    assert moved.host == {name: stays.gpu[name] for name in states}
    assert not states & moved.gpu.keys()
    assert more.host["weights"] == stays.gpu["weights"]
    assert more.gpu["weights"] == 0


def test_ranks_that_share_samples_share_their_activations() -> None:
    alone = budget(config(), Machine())
    shared = budget(config(engine=EngineConfig(context_parallel=2)), Machine(ranks=2))
    assert shared.gpu["activations"] == -(-alone.gpu["activations"] // 2)
    with pytest.raises(ValueError, match=r"ranks = 3.*microbatches = 4"):
        budget(config(), Machine(ranks=3))


def test_ranks_that_cannot_share_the_work_are_told_what_could() -> None:
    """Each remedy that is named is one: with it the same machines are taken."""
    a14b = training_recipe("train_stage1_a14b")
    with pytest.raises(ValueError, match="ranks = 64") as refused:
        budget(a14b, Machine(ranks=64))
    message = str(refused.value)
    assert message.endswith(
        "use 32 ranks, or share each sample's tokens by engine.context_parallel=2, or make a "
        "step's batch larger by data.batch.microbatches=64"
    )
    a14b.check_ranks(32)
    for remedied in ("engine.context_parallel=2", "data.batch.microbatches=64"):
        with_overrides(a14b, [remedied]).check_ranks(64)
    shared = with_overrides(a14b, ["engine.context_parallel=8"])
    with pytest.raises(ValueError, match="give 8 ranks at least"):
        shared.check_ranks(3)


def test_the_14b_model_in_numbers() -> None:
    """14 billion parameters do not fit 8 GPUs of 80 GB with 48 k tokens; the paper used more."""
    made = training_recipe("train_stage1_a14b")
    counted = budget(made, Machine(ranks=8))
    assert counted.parameters == pytest.approx(14.289e9, rel=1e-3)
    assert counted.tokens == 32 * 48_360
    assert counted.gpu["optimiser"] == pytest.approx(8 * 14.289e9 / 8, rel=1e-3)
    assert not counted.fits
    assert "NO" in "\n".join(counted.lines())
    stored = budget(with_overrides(made, ["precomputed.text=require"]), Machine(ranks=8))
    assert counted.gpu["text encoder"] == pytest.approx(2 * 5.68e9, rel=1e-3)
    assert stored.gpu.keys() == counted.gpu.keys() - {"text encoder"}


def test_a_remedy_fits_and_is_the_first_that_does() -> None:
    made = training_recipe("train_stage1_a14b")
    plenty, tight = Machine(ranks=32, gpu_bytes=80 * 2**30), Machine(ranks=8, gpu_bytes=80 * 2**30)
    selective = dataclasses.replace(
        made, network=dataclasses.replace(made.network, recompute="selective")
    )
    assert remedy(selective, plenty) == ("network.recompute=blocks",)
    changes = remedy(selective, tight)
    assert changes is not None and changes[-1] == "engine.offload=optimiser"
    assert budget(with_overrides(selective, list(changes)), tight).fits
    assert remedy(selective, dataclasses.replace(tight, gpu_bytes=8 * 2**30)) is None


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_has_a_budget_that_says_all(name: str) -> None:
    counted = budget(training_recipe(name), Machine())
    text = "\n".join(counted.lines())
    assert f"{counted.parameters:,}" in text
    assert counted.document()["fits"] is counted.fits
    assert max(map(len, counted.lines())) <= 80


@pytest.mark.parametrize(
    ("field", "value"),
    [("ranks", 0), ("mfu", 0.0), ("mfu", 1.5), ("peak_flops", -1.0), ("reserve", 1.0)],
)
def test_machines_that_there_are_not_are_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        Machine(**{field: value})
