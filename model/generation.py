"""Executes a plan: windows are denoised, condition their children, and the leaves become the video.

Only the leaves are seen (paper section 3.4): the frames of coarser levels condition the level below
and are then thrown away, for pasting them into finer ones flickers. They pass as float32 pixels,
through decoder and encoder, as given frames do in training; latents could be handed over more
cheaply, but those of a level do not line up with those of the next.
"""

import contextlib
import dataclasses
import hashlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from model.codec import LatentCodec
from model.conditioning import MASK_CHANNELS, condition
from model.fingerprints import module_fingerprint
from model.node_store import NodeStore
from model.presets import DiTConfig
from model.ranks import Ranks
from model.request import SIDE_MULTIPLE, Request
from model.sampling import Window, denoise
from model.text import TextEncoder
from model.tree import Node, Piece
from model.work import Execution, batches, rounds, useful

if TYPE_CHECKING:
    from model.dit import MultiMaskDiT


@dataclasses.dataclass(frozen=True)
class Segment:
    """A finished part of the video, in the order of time.

    Attributes:
        node: the leaf that it comes from.
        first: top-rate index of its first frame.
        stride: top-rate frames from one of its frames to the next.
        frames: float32 `[3,n,H,W]` in [-1,1], on the CPU.
    """

    node: str
    first: int
    stride: int
    frames: Tensor


@dataclasses.dataclass(frozen=True, slots=True)
class Finished:
    """A node whose frames are there.

    Attributes:
        node: which.
        reused: found among stored nodes, not made now.
        seconds: that its batch took.
        done: nodes finished so far.
        total: nodes of the run.
    """

    node: Node
    reused: bool
    seconds: float
    done: int
    total: int


Watch = Callable[[Finished], None]


@dataclasses.dataclass(frozen=True)
class TreeGenerator:
    """What generates: a network, the codec it was trained on, and the encoder of its prompts.

    Attributes:
        network: on its device, in its dtype; one that is being trained may be lent for a sample,
            and comes back as it was.
        codec: between pixels and latents.
        text: embeds prompts.
        offload: keep network, autoencoder and text encoder on the CPU while they rest. Each then
            works on `device`, and the memory needed there is that of the largest.
        device: where work is done when `offload` is set; else everything stays where it is.
    """

    network: "MultiMaskDiT"
    codec: LatentCodec
    text: TextEncoder
    offload: bool = False
    device: torch.device = dataclasses.field(default_factory=lambda: torch.device("cpu"))

    def __post_init__(self) -> None:
        if self.network.config["text_dim"] != self.text.width:
            raise ValueError(
                f"the network reads text of width {self.network.config['text_dim']} and the text "
                f"encoder gives {self.text.width}: use the encoder that it was trained with"
            )
        reads, latents = self.network.config["in_channels"], self.codec.geometry.channels
        if reads != 2 * latents + MASK_CHANNELS:
            raise ValueError(
                f"the network reads {reads} channels, and noise, mask and condition are "
                f"{2 * latents + MASK_CHANNELS}: use an image-to-video network, as Wan2.2-I2V is"
            )
        rows, columns = self.size.patch_size[1:]
        if rows != columns or SIDE_MULTIPLE % self.token_side:
            raise ValueError(
                f"network.patch_size = {self.size.patch_size}: sides of videos are multiples of "
                f"{SIDE_MULTIPLE} pixels, so a token must be a square whose side divides "
                f"{SIDE_MULTIPLE}; use a network with Wan's patches of 2 x 2 latents, or with "
                "smaller ones"
            )

    @property
    def fingerprint(self) -> str:
        """Of everything here that decides frames."""
        parts = (module_fingerprint(self.network), self.codec.fingerprint, self.text.fingerprint)
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:32]

    @property
    def size(self) -> DiTConfig:
        """Size of the network."""
        names = [field.name for field in dataclasses.fields(DiTConfig)]
        known = {name: self.network.config[name] for name in names}
        return DiTConfig(**known | {"patch_size": tuple(known["patch_size"])})

    @property
    def token_side(self) -> int:
        """Pixels on the side of a token."""
        return self.codec.geometry.space * self.size.patch_size[1]

    def generate(
        self,
        request: Request,
        execution: Execution | None = None,
        *,
        ranks: Ranks | None = None,
        store: NodeStore | None = None,
        watch: Watch | None = None,
    ) -> Iterator[Segment]:
        """Generate a video, handing out each part as soon as all before it is there.

        With several ranks all of them call this with the same request and run it to its end; rank 0
        is given the segments.

        Args:
            request: what.
            execution: in which order, how much at once.
            ranks: who shares the work.
            store: where frames of nodes are kept and looked for (used by rank 0).
            watch: told of each finished node (on rank 0).
        """
        run = _Run(self, request, execution or Execution(), ranks or Ranks(), store, watch)
        yield from run.segments()

    def embed(self, prompts: set[str]) -> dict[str, Tensor]:
        """Embed prompts, each by itself: `[L,D]` on the CPU."""
        ordered = sorted(prompts)
        with self._working(self.text.resident(ordered)):
            return {prompt: self.text.encode([prompt])[0].cpu() for prompt in ordered}

    def encode(self, given: Tensor, mask: Tensor) -> Tensor:
        """Mask and condition latents `[4+C,T,h,w]` of one window, on the CPU."""
        with self._working(self.codec.resident):
            return condition(given, mask, self.codec).channels()[0].cpu()

    def decode(self, latents: Tensor) -> Iterator[Tensor]:
        """Frames `[3,F,H,W]` of each window, on the CPU; one at a time, which bounds memory."""
        with self._working(self.codec.resident):
            for one in latents:
                yield self.codec.decode(one[None])[0].cpu()

    def denoise(self, windows: list[Window], node: Node, request: Request) -> Tensor:
        """Latents of windows like `node`'s."""
        training = self.network.training
        self.network.eval()  # no dropout
        try:
            with self._working(self.network):
                return denoise(
                    self.network,
                    windows,
                    steps=node.steps,
                    level=request.level(node),
                    solver=request.sampling.solver,
                )
        finally:
            self.network.train(training)

    @contextlib.contextmanager
    def _working(self, module: nn.Module | None) -> Iterator[None]:
        """Have a module on the device while it works, if it rests elsewhere."""
        if not self.offload or module is None:
            yield
            return
        nn.Module.to(module, self.device)
        try:
            yield
        finally:
            nn.Module.to(module, "cpu")


class _Run:
    """One execution of a plan: what is there, what is missing, who makes it."""

    def __init__(
        self,
        generator: TreeGenerator,
        request: Request,
        execution: Execution,
        ranks: Ranks,
        store: NodeStore | None,
        watch: Watch | None,
    ) -> None:
        self.generator, self.request, self.plan = generator, request, request.plan
        self.ranks, self.store, self.watch = ranks, store, watch
        side = generator.token_side
        tokens = (request.height // side) * (request.width // side)
        itemsize = generator.network.dtype.itemsize
        self.formed = batches(self.plan, execution, tokens, generator.size, ranks.size, itemsize)
        # Hashing all weights takes a while, and only names what is stored.
        self.keys = request.keys(generator.fingerprint) if store else {}
        self.wanted = useful(self.plan)
        found = [n for n, key in self.keys.items() if store and key in store and n in self.wanted]
        self.stored = frozenset(ranks.agree(found))
        self.done = set(self.stored)
        self.frames: dict[str, Tensor] = {}
        self.texts: dict[str, Tensor] = {}
        self.pieces = list(self.plan.output)

    def segments(self) -> Iterator[Segment]:
        """The video, part by part."""
        for count, name in enumerate(sorted(self.stored), 1):
            self._tell(Finished(self.plan.node(name), True, 0.0, count, len(self.wanted)))
        missing = [tuple(n for n in batch if n.id not in self.stored) for batch in self.formed]
        missing = [batch for batch in missing if batch]
        if missing:
            self.texts = self._embedded(missing)
        yield from self._ready()
        for together in rounds(missing, self.done, self.ranks.size):
            self._recall(together)
            self._make(together)
            yield from self._ready()
            self._forget()

    def _embedded(self, missing: list[tuple[Node, ...]]) -> dict[str, Tensor]:
        nodes = [node for batch in missing for node in batch]
        prompts = {self.request.prompt_of(node) for node in nodes}
        return self.generator.embed(prompts | {self.request.negative})

    def _make(self, together: list[tuple[Node, ...]]) -> None:
        """Denoise a batch on each rank, and bring all frames to all ranks."""
        started = time.perf_counter()
        mine: dict[str, Tensor] = {}
        if self.ranks.rank < len(together):
            mine = self._denoised(together[self.ranks.rank])
        for owner, batch in enumerate(together):
            for node in batch:
                frames = self.ranks.share(mine.get(node.id), self._shape(node), owner)
                self.frames[node.id] = frames
            if self.store is not None and self.ranks.rank == 0:
                self._keep(batch)
        seconds = time.perf_counter() - started
        for batch in together:
            for node in batch:
                self.done.add(node.id)
                self._tell(Finished(node, False, seconds, len(self.done), len(self.wanted)))

    def _denoised(self, batch: tuple[Node, ...]) -> dict[str, Tensor]:
        windows = [self._window(node) for node in batch]
        latents = self.generator.denoise(windows, batch[0], self.request)
        decoded = self.generator.decode(latents)
        return {node.id: frames for node, frames in zip(batch, decoded, strict=True)}

    def _window(self, node: Node) -> Window:
        request = self.request
        given = torch.zeros(1, *self._shape(node))
        for anchor in node.anchors:
            parent = self.plan.node(anchor.node)
            taken = self.frames[parent.id][:, parent.frames.index(anchor.frame)]
            given[0, :, node.frames.index(anchor.frame)] = taken
        for placement in node.given:  # after the anchors: what the user gave is what is meant
            assert placement.placed is not None
            given[0, :, node.frames.index(placement.placed)] = request.given[placement.asked]
        return Window(
            seed=request.seed_of(node),
            channels=self.generator.encode(given, torch.tensor([node.frame_mask])),
            positions=node.positions,
            text=self.texts[request.prompt_of(node)],
            negative=self.texts[request.negative],
        )

    def _shape(self, node: Node) -> tuple[int, int, int, int]:
        return 3, len(node.frames), self.request.height, self.request.width

    def _keep(self, batch: tuple[Node, ...]) -> None:
        assert self.store is not None
        prompts = {self.request.prompt_of(node) for node in batch}
        notes = {
            "nodes": ", ".join(f"{node.id} is {self.keys[node.id]}" for node in batch),
            "prompts": "\n".join(sorted(prompts)),
        }
        self.store.write({self.keys[node.id]: self.frames[node.id] for node in batch}, notes)

    def _recall(self, together: list[tuple[Node, ...]]) -> None:
        """Bring stored parents of these batches to all ranks."""
        parents = {name for batch in together for node in batch for name in node.dependencies}
        for name in sorted(parents & self.stored - self.frames.keys()):
            node = self.plan.node(name)
            self.frames[name] = self.ranks.share(self._stored_frames(node), self._shape(node), 0)

    def _stored_frames(self, node: Node) -> Tensor | None:
        if self.ranks.rank != 0:
            return None
        assert self.store is not None
        return self.store.read(self.keys[node.id], self._shape(node))

    def _ready(self) -> Iterator[Segment]:
        """Hand out what is finished and has nothing unfinished before it."""
        while self.pieces and self.pieces[0].node in self.done:
            piece = self.pieces.pop(0)
            if self.ranks.rank == 0:
                yield self._segment(piece)

    def _segment(self, piece: Piece) -> Segment:
        node = self.plan.node(piece.node)
        frames = self.frames.get(node.id)
        if frames is None:
            frames = self._stored_frames(node)
        assert frames is not None
        first = node.frames.index(piece.first)
        kept = frames[:, first : first + len(piece.frames)].clone()
        for placement in node.given if self.request.paste_given else ():
            if placement.placed is not None and placement.placed in piece.frames:
                at = piece.frames.index(placement.placed)
                kept[:, at] = self.request.given[placement.asked]
        return Segment(node.id, piece.first, piece.stride, kept)

    def _forget(self) -> None:
        """Drop frames that nothing needs any more."""
        unfinished = [n for batch in self.formed for n in batch if n.id not in self.done]
        needed = {name for node in unfinished for name in node.dependencies}
        needed |= {piece.node for piece in self.pieces if self.ranks.rank == 0}
        self.frames = {name: kept for name, kept in self.frames.items() if name in needed}

    def _tell(self, finished: Finished) -> None:
        if self.watch is not None and self.ranks.rank == 0:
            self.watch(finished)
