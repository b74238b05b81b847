"""What `tempo generate` is asked for, checked as far as words and numbers go.

Reading pictures, films and checkpoints is the job's business; this can be built in a moment, and
goes to other processes as it is.
"""

import dataclasses
from pathlib import Path

import torch

from model.continuation import NEW
from model.flow_matching import SolverName
from model.generator_folder import Adapter, Loading
from model.request import Change, check_sides
from model.sampling import LevelSampling, Sampling
from model.schedule import Schedule
from model.work import Execution

NODES = ".nodes"
"""Suffix of the folder of finished nodes, in place of the film's."""
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclasses.dataclass(frozen=True)
class GenerateJob:
    """What `tempo generate` is asked for.

    Attributes:
        checkpoint: folder of a generator.
        out: the film, ``.mp4``; sheet, record and nodes are named after it.
        prompt: words.
        width: pixels, a multiple of 16.
        height: pixels, a multiple of 16.
        frames: at 24 fps; of the film or, with `video`, of what is added to it.
        schedule: in the paper's notation.
        steps: of each level; empty: the schedule's defaults.
        guidance: of each level, or one for all.
        shift: of each level, or one for all.
        solver: see `model.flow_matching`.
        negative: what guidance leads away from.
        seed: of the run.
        first: picture of the first frame.
        last: picture of the last frame.
        video: film to continue.
        paste_given: `first` and `last` replace what was generated there.
        strict: refuse pictures at frames that a level does not have.
        stream: finish the first seconds first, and write a film that can be watched meanwhile.
        batch: windows at once; None: what `memory` allows.
        memory: bytes for the activations of a batch.
        ranks: processes, each with a device of its own where there are several.
        device: "cpu" or "cuda".
        dtype: of the network.
        offload: parts that rest wait on the CPU.
        tiling: of the autoencoder.
        adapters: LoRA files and their weights, fused.
        changes: of single nodes: number of the round, of which continuations have several; id;
            change.
        nodes: folder of finished nodes; None: beside the film.
        prompt_cache: folder of prompt embeddings; None: none is kept.
    """

    checkpoint: Path
    out: Path
    prompt: str
    width: int
    height: int
    frames: int
    schedule: str = "f(6,12,24)m(1,2,4)"
    steps: tuple[int, ...] = ()
    guidance: tuple[float, ...] = (5.0,)
    shift: tuple[float, ...] = (3.0,)
    solver: SolverName = "unipc"
    negative: str = ""
    seed: int = 0
    first: Path | None = None
    last: Path | None = None
    video: Path | None = None
    paste_given: bool = False
    strict: bool = False
    stream: bool = False
    batch: int | None = None
    memory: int = 4 << 30
    ranks: int = 1
    device: str = "cpu"
    dtype: str = "float32"
    offload: bool = False
    tiling: bool = False
    adapters: tuple[Adapter, ...] = ()
    changes: tuple[tuple[int, str, Change], ...] = ()
    nodes: Path | None = None
    prompt_cache: Path | None = None

    def __post_init__(self) -> None:
        check_sides(self.width, self.height)
        if self.dtype not in _DTYPES:
            raise ValueError(f"dtype={self.dtype!r}: choose one of {', '.join(_DTYPES)}")
        if self.ranks < 1:
            raise ValueError(f"ranks={self.ranks}: must be at least 1")
        _ = self.execution  # checks batch and memory
        self._check_files()
        self._check_levels()
        self._check_rounds()

    def _check_files(self) -> None:
        if self.out.suffix != ".mp4":
            raise ValueError(f"out={self.out}: films are written as MP4; name it something.mp4")
        if not self.out.absolute().parent.is_dir():
            raise ValueError(f"out={self.out}: there is no folder {self.out.absolute().parent}")
        if self.video is not None and (self.first or self.last):
            raise ValueError("video: a continuation goes on from the film; leave out the pictures")
        if self.first and self.last and self.frames == 1:
            raise ValueError("first, last: a video of one frame shows one picture; give one")
        for made in (self.out, self.sheet, self.record):
            if obstacle := self._obstacle(made):
                raise ValueError(f"out={self.out}: {obstacle}; name the film otherwise")
        for name, folder in (("nodes", self.nodes_folder), ("prompt_cache", self.prompt_cache)):
            if folder is not None and folder.exists() and not folder.is_dir():
                raise ValueError(f"{name}={folder}: that is a file; name a folder")
            if folder is not None and self._in_checkpoint(folder):
                raise ValueError(f"{name}={folder}: a checkpoint is no place for it; name another")

    def _obstacle(self, made: Path) -> str | None:
        """Why a file cannot be written, or must not be: a repetition reads what was given again."""
        if made.is_dir():
            return f"{made} is a folder"
        if self._in_checkpoint(made):
            return "a checkpoint is no place for films"
        for given in self.given.values():
            if made.exists() and given.exists() and made.samefile(given):
                return f"{given} is given, and would be written over"
        return None

    def _in_checkpoint(self, path: Path) -> bool:
        return path.resolve().is_relative_to(self.checkpoint.resolve())

    def _check_levels(self) -> None:
        counts = {len(self.guidance), len(self.shift)} - {1}
        levels = len(self.tree.rates)
        if counts - {levels}:
            raise ValueError(
                f"guidance and shift: give one number, or one for each of the {levels} levels of "
                f"{self.schedule}"
            )

    def _check_rounds(self) -> None:
        for number, node, _ in self.changes:
            if number >= self.rounds:
                raise ValueError(
                    f"node={number}/{node}: there is no round {number}; rounds are counted from 0, "
                    f"and {self.frames} frames take {self.rounds}"
                )

    @property
    def given(self) -> dict[str, Path]:
        """Files that the user gave, by what they are."""
        named = {"first": self.first, "last": self.last, "video": self.video}
        files = {name: path for name, path in named.items() if path is not None}
        return files | {f"adapter {n}": given.file for n, given in enumerate(self.adapters)}

    @property
    def rounds(self) -> int:
        """How many trees follow each other."""
        return 1 if self.video is None else max(-(-self.frames // NEW), 1)

    def changes_of(self, number: int) -> dict[str, Change]:
        """Changes of the nodes of a round, by id."""
        return {node: change for of, node, change in self.changes if of == number}

    @property
    def tree(self) -> Schedule:
        """The schedule with its steps."""
        return Schedule.parse(self.schedule, steps=self.steps)

    @property
    def scales(self) -> tuple[float, ...]:
        """Guidance of each level."""
        count = len(self.tree.rates)
        return self.guidance * count if len(self.guidance) == 1 else self.guidance

    @property
    def sampling(self) -> Sampling:
        """Guidance, shift and solver of each level."""
        count = max(len(self.guidance), len(self.shift))
        guidance, shift = (
            values * count if len(values) == 1 else values for values in (self.guidance, self.shift)
        )
        levels = tuple(map(LevelSampling, guidance, shift))
        return Sampling(levels, self.solver)

    @property
    def execution(self) -> Execution:
        """Order and batches."""
        return Execution("depth" if self.stream else "breadth", self.batch, self.memory)

    @property
    def sheet(self) -> Path:
        """The contact sheet."""
        return self.out.with_suffix(".png")

    @property
    def record(self) -> Path:
        """The JSON record."""
        return self.out.with_suffix(".json")

    @property
    def nodes_folder(self) -> Path:
        """Where finished nodes are kept."""
        return self.nodes or self.out.with_suffix(NODES)

    def loading(self, rank: int) -> Loading:
        """How a rank loads the checkpoint."""
        device = self.device
        if device == "cuda" and self.ranks > 1:
            device = f"cuda:{rank % torch.cuda.device_count()}"
        return Loading(
            device,
            _DTYPES[self.dtype],
            self.offload,
            self.tiling,
            self.prompt_cache,
            self.adapters,
        )
