"""Recipes of training: the paper's two stages, a small shape, and one for a laptop's processor."""

import dataclasses

from model import presets
from model.flow_matching import TimeSampling
from model.generator_folder import CodecSpec, TextSpec
from model.lora import LoraSettings
from training.checkpoint import CheckpointConfig
from training.config import TrainConfig
from training.data import stage_1, stage_2
from training.engine import EngineConfig
from training.examples import ExampleConfig
from training.loader import LoaderConfig
from training.masks import MaskConfig, MaskMixture
from training.network import InitConfig, NetworkConfig
from training.optimiser import OptimiserConfig
from training.plan import BatchConfig
from training.validation import ValidationConfig, VideoSampling
from training.windows import WindowConfig

_WAN = "Wan-AI/Wan2.2-I2V-A14B-Diffusers"
_TOKENS_480P = 48_000
"""Tokens of a window of 121 frames at 832x480."""


def train_debug_cpu() -> TrainConfig:
    """Stage 1 on a processor: learns something visible in minutes, without anybody's weights.

    Small pictures, short windows, the DCT codec and the byte encoder. All kinds of masks are
    trained from the start, so that its videos can be looked at. One wide head: rotary embedding
    shares a head's channels among time, rows and columns, and with three heads of 32 only five
    frequencies are left for each, too few to attend to the same place in another frame. Windows
    show a part of the picture, and captions are dropped in half of the windows, so that few films
    are not learnt by heart: pack about twice as large as windows are.
    """
    mixture = MaskMixture(
        random=0.1, every2=0.2, every4=0.15, first=0.35, first_last=0.05, prefix=0.05, none=0.1
    )
    data = stage_1()
    return TrainConfig(
        recipe="train_debug_cpu",
        stage="stage_1",
        steps=4200,
        network=NetworkConfig(
            presets.DiTConfig(
                num_attention_heads=1,
                attention_head_dim=96,
                ffn_dim=384,
                num_layers=4,
                text_dim=32,
                freq_dim=64,
                patch_size=(1, 1, 1),
            )
        ),
        codec=CodecSpec("dct", scale="pixels"),
        text=TextSpec("bytes", length=8, width=32),
        data=dataclasses.replace(
            data,
            windows=WindowConfig(
                sizes=((96, 64),),
                rates=(6, 12, 24),
                lengths=(17,),
                cap=17,
                min_seconds=0.0,
                max_seconds=None,
                max_crop=0.6,
                token_side=8,
            ),
            examples=ExampleConfig(
                masks=MaskConfig(mixture),
                times=TimeSampling("uniform", shift=1.0),
                max_start=0.0,
                text_dropout=0.5,
                least_view=0.4,
            ),
            batch=BatchConfig(microbatches=2, samples=2),
            loader=LoaderConfig(workers=1),
        ),
        optimiser=OptimiserConfig(
            lr=3e-3, betas=(0.9, 0.99), warmup=200, schedule="cosine", final_share=0.02
        ),
        validation=ValidationConfig(
            every=1400, windows=16, videos=1, sampling=VideoSampling("euler", (6, 5, 4))
        ),
        checkpoint=CheckpointConfig(every=600, keep_last=2, generator=True),
    )


def train_debug_cpu_stage2() -> TrainConfig:
    """Stage 2 on a processor: from stage 1's average, positions shifted, several lengths."""
    first = train_debug_cpu()
    windows = dataclasses.replace(first.data.windows, lengths=(17, 33), cap=33)
    examples = dataclasses.replace(first.data.examples, max_start=360.0)
    return dataclasses.replace(
        first,
        recipe="train_debug_cpu_stage2",
        stage="stage_2",
        steps=500,
        network=dataclasses.replace(first.network, init=InitConfig("checkpoint")),
        data=dataclasses.replace(first.data, windows=windows, examples=examples),
        optimiser=dataclasses.replace(first.optimiser, lr=3e-4, warmup=50),
        validation=dataclasses.replace(first.validation, every=250),
        checkpoint=dataclasses.replace(first.checkpoint, every=250),
    )


def train_stage1_a14b() -> TrainConfig:
    """The paper's stage 1 (section 3.3, appendix A): 121 frames at 24 fps, 15,000 steps of 32."""
    return TrainConfig(
        recipe="train_stage1_a14b",
        stage="stage_1",
        steps=15_000,
        network=NetworkConfig(
            presets.a14b(), init=InitConfig("pretrained", _WAN), recompute="blocks"
        ),
        codec=CodecSpec("wan", source=_WAN),
        text=TextSpec("umt5", source=_WAN),
        data=dataclasses.replace(
            stage_1(),
            batch=BatchConfig(microbatches=32),
            loader=LoaderConfig(workers=6, pin_memory=True),
        ),
        optimiser=OptimiserConfig(lr=5e-4),
        engine=EngineConfig(precision="bfloat16", zero=3),
        checkpoint=CheckpointConfig(every=500, keep_last=2, keep_every=5000),
    )


def train_stage2_a14b() -> TrainConfig:
    """The paper's stage 2: 6, 12 and 24 fps, clips of 5 to 60 s, 45,000 steps from stage 1's EMA.

    Windows are at most 153 frames long: the paper's "fixed context length" cannot hold a minute at
    6 fps. Micro-batches hold as many short windows as one long one has tokens.
    """
    first = train_stage1_a14b()
    return dataclasses.replace(
        first,
        recipe="train_stage2_a14b",
        stage="stage_2",
        steps=45_000,
        network=dataclasses.replace(first.network, init=InitConfig("checkpoint")),
        data=dataclasses.replace(
            stage_2(),
            batch=BatchConfig(microbatches=32, samples=8, tokens=_TOKENS_480P),
            loader=first.data.loader,
        ),
        optimiser=OptimiserConfig(lr=2e-5),
    )


def train_stage2_a14b_fixed_start() -> TrainConfig:
    """Table 4's other half: stage 2 with every window at its own place in time, t_start = 0."""
    return _fixed_start(train_stage2_a14b(), "train_stage2_a14b_fixed_start")


def train_debug_cpu_stage2_fixed_start() -> TrainConfig:
    """Table 4's other half on a processor."""
    return _fixed_start(train_debug_cpu_stage2(), "train_debug_cpu_stage2_fixed_start")


def _fixed_start(random: TrainConfig, name: str) -> TrainConfig:
    examples = dataclasses.replace(random.data.examples, max_start=0.0)
    return dataclasses.replace(
        random, recipe=name, data=dataclasses.replace(random.data, examples=examples)
    )


def train_stage1_shape_1_3b() -> TrainConfig:
    """Stage 1 of a network of Wan2.1's 1.3B shape from random weights: fits one GPU of 80 GB."""
    first = train_stage1_a14b()
    return dataclasses.replace(
        first,
        recipe="train_stage1_shape_1_3b",
        network=NetworkConfig(presets.shape_1_3b(), recompute="selective"),
        optimiser=OptimiserConfig(lr=1e-4),
        engine=EngineConfig(precision="bfloat16", zero=2),
    )


def train_stage1_a14b_lora() -> TrainConfig:
    """Stage 1 by low-rank adapters: a GPU holds all of A14B, and trains a hundredth of it."""
    first = train_stage1_a14b()
    return dataclasses.replace(
        first,
        recipe="train_stage1_a14b_lora",
        network=dataclasses.replace(first.network, lora=LoraSettings(rank=64, alpha=64)),
        optimiser=OptimiserConfig(lr=1e-4, weight_decay=0.0),
        engine=EngineConfig(precision="bfloat16", zero=2),
    )


def train_debug_cpu_lora() -> TrainConfig:
    """Adapters on what `train_debug_cpu` has learned; name its checkpoint."""
    first = train_debug_cpu()
    return dataclasses.replace(
        first,
        recipe="train_debug_cpu_lora",
        steps=200,
        network=dataclasses.replace(
            first.network, init=InitConfig("checkpoint"), lora=LoraSettings(rank=8, alpha=8)
        ),
        optimiser=dataclasses.replace(first.optimiser, warmup=20),
        validation=dataclasses.replace(first.validation, every=100),
        checkpoint=dataclasses.replace(first.checkpoint, every=100),
    )


RECIPES = {
    recipe.__name__: recipe
    for recipe in (
        train_debug_cpu,
        train_debug_cpu_stage2,
        train_debug_cpu_stage2_fixed_start,
        train_debug_cpu_lora,
        train_stage1_a14b,
        train_stage2_a14b,
        train_stage2_a14b_fixed_start,
        train_stage1_a14b_lora,
        train_stage1_shape_1_3b,
    )
}


def training_recipe(name: str) -> TrainConfig:
    """The config that a recipe's name stands for.

    Raises:
        ValueError: naming the recipes there are.
    """
    if name not in RECIPES:
        raise ValueError(f"no recipe {name!r}; there are {', '.join(RECIPES)}")
    return RECIPES[name]()
