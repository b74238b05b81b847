"""DeepSpeed, and the only module that imports it: sharded states, gradients, the update.

What the rest of training sees is small: run the network, backward, step, and the *fragments* of the
weights and of their states that this rank owns. Checkpoints are written from fragments, so their
form knows neither the number of ranks nor the ZeRO stage, and nothing is pickled. The price is that
this module knows where DeepSpeed keeps its flat buffers, for one pinned version of it; tests hold
all stages against one process.

DeepSpeed averages gradients over the ranks. The loss of a micro-batch is divided by the samples of
the whole step already, so it is multiplied by the number of ranks here and gradients are sums:
over ranks that share a step as over those that share a sample (context parallel).
"""

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from training.ema import EmaConfig
from training.optimiser import STATES, AveragingAdamW, OptimiserConfig
from training.ranks import World

if TYPE_CHECKING:
    from model.dit import MultiMaskDiT

WEIGHT = "weight"
KINDS = (WEIGHT, *STATES)
"""What is kept of each trained parameter."""

_NEVER = 1 << 60
_SHARED_MEMORY_OP = "deepspeed_shm_comm"


@dataclasses.dataclass(frozen=True, slots=True)
class EngineConfig:
    """How the work is shared out, and in which precision it is done.

    Attributes:
        precision: of the network's weights and activations; "bfloat16" keeps float32 weights in the
            sharded optimiser, so it needs ZeRO 2 or 3.
        zero: what is sharded over ranks: 0 nothing, 1 the optimiser's states and float32 weights,
            2 gradients too, 3 weights too.
        offload: what waits in main memory: nothing, the optimiser's states, or all (ZeRO 3).
        context_parallel: ranks that share the tokens of each sample (Ulysses).
    """

    precision: Literal["float32", "bfloat16"] = "float32"
    zero: Literal[0, 1, 2, 3] = 1
    offload: Literal["none", "optimiser", "all"] = "none"
    context_parallel: int = 1

    def __post_init__(self) -> None:
        if self.context_parallel < 1:
            raise ValueError(
                f"engine.context_parallel = {self.context_parallel}: give at least 1 (off)"
            )
        if self.precision == "bfloat16" and self.zero < 2:
            raise ValueError(
                f"engine.precision = bfloat16 with engine.zero = {self.zero}: float32 weights and "
                "gradients are kept in the sharded optimiser; use engine.zero = 2 or 3, which cost "
                "nothing on one rank"
            )
        if self.offload != "none" and self.zero == 0:
            raise ValueError(
                f"engine.offload = {self.offload} with engine.zero = 0: nothing is sharded that "
                "could be moved; use engine.zero = 1 or more"
            )
        if self.offload == "all" and self.zero < 3:
            raise ValueError(
                f"engine.offload = all with engine.zero = {self.zero}: weights are whole on each "
                "rank below stage 3; use engine.zero = 3, or offload = optimiser"
            )

    @property
    def dtype(self) -> torch.dtype:
        """Of what the network is fed."""
        return torch.bfloat16 if self.precision == "bfloat16" else torch.float32

    def deepspeed(self, accumulation: int, clip_norm: float | None) -> dict[str, Any]:
        """DeepSpeed's own config: derived, written beside a run, and never edited.

        Args:
            accumulation: micro-batches of a step on each rank.
            clip_norm: see `OptimiserConfig`.
        """
        zero: dict[str, Any] = {"stage": self.zero}
        pinned = torch.cuda.is_available()
        if self.offload != "none":
            zero["offload_optimizer"] = {"device": "cpu", "pin_memory": pinned}
        if self.offload == "all":
            zero["offload_param"] = {"device": "cpu", "pin_memory": pinned}
        return {
            # Micro-batches hold what their token budget allows; DeepSpeed only counts with this.
            "train_micro_batch_size_per_gpu": 1,
            "gradient_accumulation_steps": accumulation,
            # Without ZeRO DeepSpeed clips but does not tell the norm, so `Engine` does both.
            "gradient_clipping": (clip_norm or 0.0) if self.zero else 0.0,
            "steps_per_print": _NEVER,
            "bf16": {"enabled": self.precision == "bfloat16", "check_grad_overflow": True},
            # Micro-batches add up in float32: eight bits would lose the small ones.
            "data_types": {"grad_accum_dtype": "fp32"},
            "zero_optimization": zero,
            # Torch's AdamW, also for offloaded states: DeepSpeed's own have no room for the EMA.
            "zero_allow_untested_optimizer": True,
            "zero_force_ds_cpu_optimizer": False,
        }


@dataclasses.dataclass(frozen=True, slots=True)
class Fragment:
    """The part of a parameter that this rank holds.

    Attributes:
        name: of the parameter in the network.
        shape: of the whole parameter.
        start: place of the part in the flattened parameter.
        owned: whether this rank is the one that saves it.
        values: kind -> `[n]` float32, a view into what is trained.
    """

    name: str
    shape: tuple[int, ...]
    start: int
    owned: bool
    values: dict[str, Tensor]


@dataclasses.dataclass(frozen=True, slots=True)
class Update:
    """What came of a step.

    Attributes:
        applied: False where a gradient was not finite, and nothing was changed on any rank.
        grad_norm: global, before clipping; infinite where not applied.
    """

    applied: bool
    grad_norm: float


class Engine:
    """A network under training.

    Args:
        network: made within `construction`, with the parameters to train marked.
        config: sharding and precision.
        optimiser: of AdamW.
        average: of the EMA.
        accumulation: micro-batches of a step on each rank.
        world: all ranks.
    """

    def __init__(
        self,
        network: "MultiMaskDiT",
        config: EngineConfig,
        optimiser: OptimiserConfig,
        average: EmaConfig,
        accumulation: int,
        world: World,
    ) -> None:
        deepspeed = _deepspeed(world)
        self.network = network
        self._config = config
        self._clip_norm = optimiser.clip_norm
        self._world = world
        trained = [p for p in network.parameters() if p.requires_grad]
        self._adam = AveragingAdamW(trained, optimiser, average)
        if config.zero == 3:
            # A block's weights come and go together; hooks on its layers would break its graph.
            deepspeed.utils.set_z3_leaf_modules(network, [type(network.blocks[0])])
        self.run, self._zero, _, _ = deepspeed.initialize(
            model=network,
            optimizer=self._adam,
            config=config.deepspeed(accumulation, optimiser.clip_norm),
            dist_init_required=False,
        )
        self._fragments = list(self._found())

    def backward(self, loss: Tensor, *, last: bool) -> None:
        """Add a micro-batch's gradients to those of the step.

        Args:
            loss: divided by the samples of the whole step. One that is not finite makes all
                gradients so, that all ranks skip the step.
            last: whether it is the last of the step on this rank.
        """
        factor = self._world.size if bool(torch.isfinite(loss.detach())) else float("nan")
        self.run.backward(loss * factor, scale_wrt_gas=False)
        if not last:
            self.run.step()  # only counts

    def step(self, lr: float) -> Update:
        """Update the weights by the gradients of all micro-batches, unless one is not finite."""
        for group in self._adam.param_groups:
            group["lr"] = lr
        if self._config.zero:
            self.run.step()
            norm = float(self.run.get_global_grad_norm())
            return Update(bool(self.run.was_step_applied()), norm)
        trained = [p for p in self.network.parameters() if p.requires_grad]
        norm = float(torch.nn.utils.clip_grad_norm_(trained, self._clip_norm or float("inf")))
        applied = norm < float("inf")
        if not applied:
            self.run.zero_grad()
        self.run.step()
        return Update(applied, norm if applied else float("inf"))

    def gradient_norm(self, loss: Tensor) -> float:
        """Norm of the gradients of a loss of `network`, forgotten afterwards; one rank, ZeRO 0."""
        assert self._config.zero == 0 and self._world.size == 1
        trained = [p for p in self.network.parameters() if p.requires_grad]
        gradients = torch.autograd.grad(loss, trained, allow_unused=True)
        return float(torch.nn.utils.get_total_norm([g for g in gradients if g is not None]))

    @property
    def fragments(self) -> list[Fragment]:
        """All that this rank holds of the trained parameters and their states."""
        return self._fragments

    @property
    def updates(self) -> int:
        """Updates that were applied since the run began."""
        return int(next(iter(self._adam.state.values()))["step"])

    @updates.setter
    def updates(self, count: int) -> None:
        for state in self._adam.state.values():
            state["step"].fill_(count)

    def refresh(self) -> None:
        """Bring what was written into fragments to the network, on all ranks."""
        if self._config.zero == 3:
            # Small weights stay whole between steps, and would be taken for up to date.
            self._zero._partition_all_parameters()
            for number in range(len(self._zero.fp16_groups)):
                self._zero._reassign_or_swap_out_partitioned_parameters(number)
            persistent = self._zero.persistent_parameters
            if persistent:
                persistent[0].all_gather(persistent)
        elif self._config.zero:
            self._zero.update_lp_params()

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Within this context the network has the averaged weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for fragment in self._fragments:
            weight, average = fragment.values[WEIGHT], fragment.values["ema"]
            held = weight.clone()
            weight.copy_(average)
            average.copy_(held)
        self.refresh()

    def _found(self) -> Iterator[Fragment]:
        names = {id(parameter): name for name, parameter in self.network.named_parameters()}
        match self._config.zero:
            case 0:
                return self._whole(names)
            case 3:
                return self._pieces(names)
        return self._slices(names)

    def _whole(self, names: dict[int, str]) -> Iterator[Fragment]:
        """Without ZeRO: everything, on each rank."""
        for parameter in self._adam.param_groups[0]["params"]:
            flat = self._values(parameter)
            values = {kind: value.view(-1) for kind, value in flat.items()}
            yield Fragment(
                names[id(parameter)], tuple(parameter.shape), 0, self._world.first, values
            )

    def _slices(self, names: dict[int, str]) -> Iterator[Fragment]:
        """ZeRO 1 and 2: a slice of all parameters laid end to end."""
        for flat, group in zip(
            self._zero.single_partition_of_fp32_groups, self._zero.bit16_groups, strict=True
        ):
            held = self._values(flat)
            for parameter in group:
                mapping = parameter._hp_mapping
                if mapping is not None:
                    place, start = mapping.hp_fragment_address, mapping.lp_fragment_address.start
                    values = {k: v.narrow(0, place.start, place.numel) for k, v in held.items()}
                    yield Fragment(
                        names[id(parameter)], tuple(parameter.shape), start, True, values
                    )

    def _pieces(self, names: dict[int, str]) -> Iterator[Fragment]:
        """ZeRO 3: a piece of each parameter; the last rank's may end in padding."""
        for flat, group in zip(
            self._zero.fp32_partitioned_groups_flat, self._zero.fp16_groups, strict=True
        ):
            held, place = self._values(flat), 0
            for parameter in group:
                length = parameter.partition_numel()
                start = self._world.rank * length
                real = min(length, parameter.ds_numel - start)
                if real > 0:
                    values = {kind: value.narrow(0, place, real) for kind, value in held.items()}
                    yield Fragment(
                        names[id(parameter)], tuple(parameter.ds_shape), start, True, values
                    )
                place += length

    def _values(self, weight: Tensor) -> dict[str, Tensor]:
        state = self._adam.prime(weight)
        return {WEIGHT: weight.data, **{kind: state[kind] for kind in STATES}}


def construction(config: EngineConfig, world: World) -> contextlib.AbstractContextManager[None]:
    """Where a network is made: under ZeRO 3 each parameter is sharded as soon as it exists."""
    if config.zero < 3:
        return contextlib.nullcontext()
    deepspeed = _deepspeed(world)
    made: contextlib.AbstractContextManager[None] = deepspeed.zero.Init(
        config_dict_or_path=config.deepspeed(1, None) | {"train_batch_size": world.size},
        remote_device="cpu" if config.offload == "all" else None,
    )
    return made


@contextlib.contextmanager
def whole(parameter: torch.nn.Parameter, *, write: bool = False) -> Iterator[None]:
    """Within this context a parameter is whole on each rank, whatever shards it.

    Args:
        parameter: of a network made within `construction`.
        write: what rank 0 leaves in it is what all get.
    """
    if not hasattr(parameter, "ds_id"):
        yield
        return
    from deepspeed.runtime.zero import GatheredParameters

    with GatheredParameters([parameter], modifier_rank=0 if write else None):
        yield


def _deepspeed(world: World) -> Any:  # noqa: ANN401 - a module without types
    """DeepSpeed, told what it would look for in the environment.

    Imported here, because importing takes seconds, which nobody pays who only reads configs.
    """
    os.environ.setdefault("LOCAL_RANK", str(world.device.index or 0))
    if world.device.type == "cpu":
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    import deepspeed

    # Else it compiles an all-reduce over shared memory when gloo is joined: a minute, and a
    # compiler, for what tests do not measure.
    deepspeed.ops.__compatible_ops__[_SHARED_MEMORY_OP] = False
    deepspeed.init_distributed(auto_mpi_discovery=False, verbose=False)
    return deepspeed
