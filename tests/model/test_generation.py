"""What executing a plan promises: independence of order, batch and storage, and its hand-over."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler
from torch import nn

from model import presets
from model.codec import WanCodec
from model.dct import DctCodec
from model.dit import MultiMaskDiT
from model.generation import Finished, TreeGenerator
from model.node_store import NodeStore
from model.prompt_cache import CachedTextEncoder
from model.request import Change, Request
from model.sampling import LevelSampling, Sampling, Window, derived_seed, noise
from model.text import Umt5Encoder
from model.tree import Node
from model.work import Execution, window_bytes
from tests.model.tiny import stock_twin, tiny_network
from tests.model.tiny_generator import (
    FRAMES,
    HEIGHT,
    WIDTH,
    picture,
    tiny_generator,
    tiny_request,
    video_of,
)
from tests.model.tiny_wan import tiny_vae, tokenizer, umt5

ONE = Execution(batch=1)


@pytest.fixture(scope="module")
def generator() -> TreeGenerator:
    return tiny_generator()


@pytest.fixture(scope="module")
def plain(generator: TreeGenerator) -> torch.Tensor:
    return video_of(generator.generate(tiny_request(), ONE))


def test_every_frame_is_there_once(generator: TreeGenerator, plain: torch.Tensor) -> None:
    assert plain.shape == (3, FRAMES, HEIGHT, WIDTH)
    assert plain.dtype == torch.float32
    assert plain.abs().max() <= 1
    cut = list(generator.generate(tiny_request(90), ONE))
    assert [segment.first for segment in cut] == [0, 25, 49, 73]
    # 90 frames are planned as 97 and cut once, at the end.
    assert torch.equal(video_of(cut), plain[:, :90])


def test_a_token_may_be_a_single_latent(generator: TreeGenerator) -> None:
    """Small networks have patches of their own; batches are then counted in their tokens."""
    torch.manual_seed(0)
    size = dataclasses.replace(presets.tiny(), patch_size=(1, 1, 1))
    small = dataclasses.replace(generator, network=MultiMaskDiT.of(size))
    assert (generator.token_side, small.token_side) == (16, 8)
    made = video_of(small.generate(tiny_request(33, schedule="f(6,24)m(1,4)", steps=(2, 2)), ONE))
    assert made.shape == (3, 33, HEIGHT, WIDTH)


def test_tokens_that_no_request_is_made_of_are_refused(generator: TreeGenerator) -> None:
    for patch in ((1, 4, 4), (1, 1, 2)):
        large = MultiMaskDiT.of(dataclasses.replace(presets.tiny(), patch_size=patch))
        with pytest.raises(ValueError, match=r"patch_size = \(1, .*multiples of 16"):
            dataclasses.replace(generator, network=large)


def test_order_changes_nothing(generator: TreeGenerator, plain: torch.Tensor) -> None:
    seen: list[str] = []
    deep = generator.generate(
        tiny_request(),
        Execution("depth", batch=1),
        watch=lambda finished: seen.append(finished.node.id),
    )
    first = next(deep)
    # The first seconds are out before the rest of the tree has been touched.
    assert seen == ["0.0", "1.0", "2.0"]
    assert torch.equal(video_of([first, *deep]), plain)


@pytest.mark.parametrize("execution", [Execution(batch=2), Execution(batch=3), Execution()])
def test_batches_agree(generator: TreeGenerator, plain: torch.Tensor, execution: Execution) -> None:
    together = video_of(generator.generate(tiny_request(), execution))
    torch.testing.assert_close(together, plain, rtol=0, atol=1e-4)


def test_a_narrower_dtype_makes_larger_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    denoise = TreeGenerator.denoise

    def watched(this: TreeGenerator, windows: list[Window], node: Node, request: Request) -> object:
        sizes.append(len(windows))
        return denoise(this, windows, node, request)

    monkeypatch.setattr(TreeGenerator, "denoise", watched)
    generator = tiny_generator()
    request = tiny_request(33, schedule="f(6,24)m(1,2)", steps=(1, 1))
    two_halves = Execution(memory=2 * window_bytes(generator.size, 2 * 5, 2))
    video_of(generator.generate(request, two_halves))
    assert sizes == [1, 1, 1]
    generator.network.bfloat16()
    video_of(generator.generate(request, two_halves))
    assert sizes[3:] == [1, 2]


def test_every_node_has_noise_of_its_own() -> None:
    request = tiny_request()
    seeds = {request.seed_of(node) for node in request.plan.nodes}
    later = dataclasses.replace(request, scope="1")
    seeds |= {later.seed_of(node) for node in request.plan.nodes}
    assert len(seeds) == 2 * len(request.plan.nodes)
    left, right = (noise(seed, (16, 7, 2, 4)).flatten() for seed in sorted(seeds)[:2])
    assert abs(torch.corrcoef(torch.stack([left, right]))[0, 1]) < 0.1


class Spy:
    """Remembers what windows are conditioned on, and what is decoded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.given: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.decoded: list[torch.Tensor] = []
        encode, decode = TreeGenerator.encode, TreeGenerator.decode

        def watched_encode(this: TreeGenerator, given: torch.Tensor, mask: torch.Tensor) -> object:
            self.given.append((given[0], mask[0]))
            return encode(this, given, mask)

        def watched_decode(this: TreeGenerator, latents: torch.Tensor) -> object:
            frames = list(decode(this, latents))
            self.decoded += frames
            return iter(frames)

        monkeypatch.setattr(TreeGenerator, "encode", watched_encode)
        monkeypatch.setattr(TreeGenerator, "decode", watched_decode)


def test_parents_condition_and_are_discarded(
    generator: TreeGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = Spy(monkeypatch)
    request = tiny_request()
    output = video_of(generator.generate(request, ONE))
    by_id = {node.id: n for n, node in enumerate(request.plan.nodes)}
    root, left, right = (spy.decoded[by_id[name]] for name in ("0.0", "1.0", "1.1"))
    # 0.0 shows frames 0, 4, … 96; 1.1 frames 48, 50, … 96 and is given every other one of them.
    given, mask = spy.given[by_id["1.1"]]
    assert mask.tolist() == [n % 2 == 0 for n in range(25)]
    assert torch.equal(given[:, ::2], root[:, 12:])
    assert not given[:, 1::2].any()
    # 2.2 shows frames 48 … 72. Its first stands in 1.0 and in 1.1: it is the left one's.
    given, mask = spy.given[by_id["2.2"]]
    assert mask.tolist() == [n % 2 == 0 for n in range(25)]
    assert torch.equal(given[:, 0], left[:, -1])
    assert not torch.equal(left[:, -1], right[:, 0])
    assert torch.equal(given[:, 2::2], right[:, 1:13])
    # The output is the leaves, a shared frame the left one's, and nothing of the levels above.
    leaves = [spy.decoded[by_id[f"2.{n}"]] for n in range(4)]
    expected = torch.cat([leaves[0], *(leaf[:, 1:] for leaf in leaves[1:])], dim=1)
    assert torch.equal(output, expected)


def test_only_what_the_user_gave_replaces_output(generator: TreeGenerator) -> None:
    kept, pasted = (
        video_of(generator.generate(tiny_request(given=(0, FRAMES - 1), paste_given=paste), ONE))
        for paste in (False, True)
    )
    changed = (kept != pasted).any(dim=0).flatten(1).any(dim=1).nonzero().flatten()
    assert changed.tolist() == [0, FRAMES - 1]
    assert torch.equal(pasted[:, 0], picture(0))
    assert torch.equal(pasted[:, -1], picture(FRAMES - 1))


def test_given_beats_the_anchor(generator: TreeGenerator, monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Spy(monkeypatch)
    list(generator.generate(tiny_request(given=(48,)), ONE))
    ids = [node.id for node in tiny_request(given=(48,)).plan.nodes]
    for name, at in (("0.0", 12), ("1.0", 24), ("1.1", 0), ("2.1", 24), ("2.2", 0)):
        given, mask = spy.given[ids.index(name)]
        assert mask[at]
        assert torch.equal(given[:, at], picture(48)), name


def run(
    generator: TreeGenerator, request: Request, store: NodeStore, execution: Execution = ONE
) -> tuple[torch.Tensor, set[str]]:
    """The video, and the nodes that were made and not found."""
    made: list[Finished] = []
    video = video_of(generator.generate(request, execution, store=store, watch=made.append))
    assert {finished.node.id for finished in made} == {node.id for node in request.plan.nodes}
    return video, {finished.node.id for finished in made if not finished.reused}


def test_stored_nodes_are_found_again(
    generator: TreeGenerator, plain: torch.Tensor, tmp_path: Path
) -> None:
    with NodeStore(tmp_path) as store:
        assert run(generator, tiny_request(), store)[1] == {
            node.id for node in tiny_request().plan.nodes
        }
    with NodeStore(tmp_path) as store:
        video, made = run(generator, tiny_request(), store)
    assert not made
    assert torch.equal(video, plain)


@pytest.mark.parametrize("change", [Change(prompt="a cat"), Change(seed=5)])
@pytest.mark.parametrize(("name", "affected"), [("1.1", {"1.1", "2.2", "2.3"}), ("2.1", {"2.1"})])
def test_a_change_remakes_its_node_and_descendants(
    generator: TreeGenerator, tmp_path: Path, change: Change, name: str, affected: set[str]
) -> None:
    with NodeStore(tmp_path) as store:
        before, _ = run(generator, tiny_request(), store)
        after, made = run(generator, tiny_request(changes={name: change}), store)
    assert made == affected
    moved = (before != after).flatten(2).any(dim=2).any(dim=0)
    borders = {"2.0": (0, 25), "2.1": (25, 49), "2.2": (49, 73), "2.3": (73, 97)}
    for leaf, (first, end) in borders.items():
        assert bool(moved[first:end].any()) == (leaf in affected)
    # Stored or not, it is the same video.
    fresh = video_of(generator.generate(tiny_request(changes={name: change}), ONE))
    assert torch.equal(fresh, after)


def test_keys_know_what_decides() -> None:
    request = tiny_request(given=(0,))
    base = request.keys("maker")
    others = [
        request.keys("another maker"),
        dataclasses.replace(request, prompt="another").keys("maker"),
        dataclasses.replace(request, negative="another").keys("maker"),
        dataclasses.replace(request, seed=1).keys("maker"),
        dataclasses.replace(request, scope="another").keys("maker"),
        dataclasses.replace(request, sampling=Sampling((LevelSampling(3.0),))).keys("maker"),
        dataclasses.replace(request, sampling=Sampling((LevelSampling(2.0, 5.0),))).keys("maker"),
        dataclasses.replace(request, given={0: picture(1)}).keys("maker"),
        tiny_request(given=(0,), steps=(3, 2, 2)).keys("maker"),
    ]
    for keys in others:
        assert not set(keys.values()) & set(base.values())
    assert len(set(base.values())) == len(base)
    # The negative prompt decides nothing where there is no guidance.
    free = dataclasses.replace(request, sampling=Sampling((LevelSampling(1.0),)))
    assert dataclasses.replace(free, negative="x").keys("maker") == free.keys("maker")


def test_one_window_is_a_stock_sampling_loop(generator: TreeGenerator) -> None:
    """A single level counts positions as stock does, so stock parts must give the same video."""
    frames, steps, scale, shift = 17, 4, 3.0, 5.0
    request = dataclasses.replace(
        tiny_request(frames, schedule="f(24)m(1)", steps=(steps,), given=(0,), negative="dull"),
        sampling=Sampling((LevelSampling(scale, shift),)),
        seed=11,
    )
    ours = video_of(generator.generate(request))

    codec, text = generator.codec, generator.text
    shown = torch.zeros(1, 3, frames, HEIGHT, WIDTH)
    shown[:, :, 0] = picture(0)
    mask = torch.zeros(1, 4, 5, HEIGHT // 8, WIDTH // 8)
    mask[:, :, 0] = 1.0
    network = stock_twin(generator.network).eval()
    scheduler = UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift
    )
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 0.0, steps + 1)[:-1])
    latents = noise(derived_seed(11, "", "0.0"), (16, 5, HEIGHT // 8, WIDTH // 8))[None]
    sigmas = [shift * s / (1 + (shift - 1) * s) for s in (1.0, 0.75, 0.5, 0.25)]
    with torch.no_grad():
        for timestep, sigma in zip(scheduler.timesteps, sigmas, strict=True):
            entered = torch.cat([latents, mask, codec.encode(shown)], dim=1)
            positive, negative = (
                network(
                    entered, torch.tensor([1000.0 * sigma]), text.encode([words]), return_dict=False
                )[0]
                for words in ("a red ball on a lawn", "dull")
            )
            velocity = negative + scale * (positive - negative)
            latents = scheduler.step(velocity, timestep, latents, return_dict=False)[0]
    torch.testing.assert_close(ours, codec.decode(latents)[0], rtol=0, atol=1e-5)


def test_a_network_in_training_comes_back_as_it_was() -> None:
    lent = tiny_generator()
    lent.network.train()
    segments = lent.generate(tiny_request(17, schedule="f(24)m(1)", steps=(1,)))
    assert not any(segment.frames.requires_grad for segment in segments)
    assert lent.network.training
    assert all(parameter.requires_grad for parameter in lent.network.parameters())


def test_windows_are_told_their_times(generator: TreeGenerator) -> None:
    """Positions in 24-fps latents, steps and shift of each level, as the network sees them."""
    told: list[tuple[list[float], float]] = []

    def look(_: object, arguments: tuple[torch.Tensor, ...], named: dict[str, object]) -> None:
        positions = named["temporal_positions"]
        assert isinstance(positions, torch.Tensor)
        told.append((positions[0].tolist(), float(arguments[1][0])))

    hook = generator.network.register_forward_pre_hook(look, with_kwargs=True)
    levels = (LevelSampling(1.0, 3.0), LevelSampling(1.0, 1.0), LevelSampling(1.0, 5.0))
    request = dataclasses.replace(tiny_request(steps=(2, 3, 1)), sampling=Sampling(levels))
    list(generator.generate(request, ONE))
    hook.remove()
    assert len(told) == 2 + 2 * 3 + 4 * 1  # no guidance, so one forward a step
    assert told[:2] == [
        ([0.0, 4.0, 8.0, 12.0, 16.0, 20.0, 24.0], 1000.0),
        ([0.0, 4.0, 8.0, 12.0, 16.0, 20.0, 24.0], 750.0),
    ]
    assert [positions for positions, _ in told[2:8:3]] == [
        [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0],
        [12.0, 14.0, 16.0, 18.0, 20.0, 22.0, 24.0],
    ]
    assert [time for _, time in told[2:5]] == pytest.approx([1000.0, 2000 / 3, 1000 / 3])
    assert told[-1] == ([18.0, 19.0, 20.0, 21.0, 22.0, 23.0, 24.0], 1000.0)


def test_levels_have_settings_of_their_own() -> None:
    levels = (LevelSampling(2.0), LevelSampling(2.0), LevelSampling(4.0))
    request = dataclasses.replace(tiny_request(), sampling=Sampling(levels))
    keys, base = request.keys(""), tiny_request().keys("")
    assert {name for name in keys if keys[name] != base[name]} == {f"2.{n}" for n in range(4)}
    with pytest.raises(ValueError, match="2 levels for a schedule of 3"):
        dataclasses.replace(request, sampling=Sampling(levels[:2]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 40}, "width=40: must be a multiple of 16"),
        ({"height": 0}, "height=0: must be a multiple of 16, e.g. 16"),
        ({"given": {0: picture(0), 5: picture(5)}}, "frame 5 is not in the plan"),
        ({"given": {}}, "counts on frame 0"),
        ({"given": {0: picture(0)[:, :8]}}, "scale it to the video's size"),
        ({"given": {0: picture(0) * 9}}, "within"),
        ({"changes": {"7.0": Change(seed=1)}}, "7.0"),
    ],
)
def test_refused_requests(options: dict[str, object], message: str) -> None:
    request = tiny_request(given=(0,))
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(request, **options)


AWAY = torch.device("cuda", 3)


class Places:
    """Where modules are said to stand: none is moved, for there may be no device to move to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, modules: dict[str, nn.Module]) -> None:
        self.where = dict.fromkeys(modules, torch.device("cpu"))
        self.moves: list[tuple[str, torch.device]] = []
        self.worked: dict[str, set[torch.device]] = {}
        self._names = {id(module): name for name, module in modules.items()}
        monkeypatch.setattr(nn.Module, "to", self._move)

    def _move(self, module: nn.Module, device: torch.device | str) -> nn.Module:
        name = self._names[id(module)]
        self.where[name] = torch.device(device)
        self.moves.append((name, self.where[name]))
        # What is needed there is what the largest needs.
        assert list(self.where.values()).count(AWAY) <= 1
        return module

    def watch(self, name: str, part: str, module: nn.Module) -> None:
        """Note where the module `name` stands whenever this part of it runs."""
        worked = self.worked.setdefault(part, set())
        module.register_forward_pre_hook(lambda *_: worked.add(self.where[name]))


def test_parts_work_on_the_device_and_rest_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    text = Umt5Encoder(tokenizer(), umt5(), length=8)
    codec = WanCodec(tiny_vae())
    generator = TreeGenerator(tiny_network(), codec, text, offload=True, device=AWAY)
    places = Places(
        monkeypatch, {"network": generator.network, "vae": codec.vae, "text": text.model}
    )
    places.watch("network", "network", generator.network)
    places.watch("text", "text", text.model)
    places.watch("vae", "encoder", codec.vae.encoder)
    places.watch("vae", "decoder", codec.vae.decoder)
    request = tiny_request(17, schedule="f(12,24)m(1,2)", steps=(1, 1), given=(0,))
    moved = video_of(generator.generate(request, ONE))
    assert places.worked == {key: {AWAY} for key in ("network", "text", "encoder", "decoder")}
    assert set(places.where.values()) == {torch.device("cpu")}
    assert [name for name, _ in places.moves[:4]] == ["text", "text", "vae", "vae"]
    still = dataclasses.replace(generator, offload=False)
    seen = len(places.moves)
    assert torch.equal(video_of(still.generate(request, ONE)), moved)
    assert len(places.moves) == seen


def test_nothing_is_moved_for_prompts_that_are_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = Umt5Encoder(tokenizer(), umt5(), length=8)
    kept = CachedTextEncoder(text, tmp_path)
    generator = TreeGenerator(tiny_network(), DctCodec(), kept, offload=True, device=AWAY)
    places = Places(monkeypatch, {"network": generator.network, "text": text.model})
    generator.embed({"a red ball", ""})
    assert [name for name, _ in places.moves] == ["text", "text"]
    generator.embed({"a red ball", ""})
    assert len(places.moves) == 2
    generator.embed({"a red ball", "the hill"})
    assert len(places.moves) == 4
