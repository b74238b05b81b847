"""A tiny generator without weights of anybody's, and small requests, for tests of generation."""

import torch

from model import presets
from model.dct import DctCodec
from model.generation import TreeGenerator
from model.request import Request
from model.sampling import LevelSampling, Sampling
from model.schedule import Schedule
from model.text import ByteEncoder
from model.tree import plan_tree
from tests.model.tiny import tiny_network

WIDTH, HEIGHT = 32, 16
SCHEDULE = "f(6,12,24)m(1,2,4)"
STEPS = (2, 2, 2)
FRAMES = 97


def tiny_generator(seed: int = 0) -> TreeGenerator:
    torch.set_num_threads(1)
    text = ByteEncoder(width=presets.tiny().text_dim, length=8)
    return TreeGenerator(tiny_network(seed), DctCodec(), text)


def picture(seed: int) -> torch.Tensor:
    """Noise that no generator would make by itself."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(3, HEIGHT, WIDTH, generator=generator) * 2 - 1


def tiny_request(
    frames: int = FRAMES,
    *,
    schedule: str = SCHEDULE,
    steps: tuple[int, ...] = STEPS,
    given: tuple[int, ...] = (),
    **options: object,
) -> Request:
    return Request(
        plan=plan_tree(Schedule.parse(schedule, steps=steps), frames, given=given),
        prompt="a red ball on a lawn",
        height=HEIGHT,
        width=WIDTH,
        given={frame: picture(frame) for frame in given},
        sampling=Sampling((LevelSampling(guidance=2.0),)),
        **options,
    )


def video_of(segments: object) -> torch.Tensor:
    """All frames of segments, `[3,F,H,W]`."""
    return torch.cat([segment.frames for segment in segments], dim=1)
