"""Which metrics judge a run's videos, and by which weights."""

import dataclasses
import re
from typing import Literal, get_args

from evaluation.metrics.plugins import check_name
from evaluation.metrics.versions import PROXIES
from evaluation.score import DIMENSIONS

Profile = Literal["plain", "dev", "proxy"]
Precision = Literal["fp32", "fp16", "bf16"]

PLUGINS = {
    "amt": "AMT-S (its published code, github.com/MCG-NKU/AMT, is not for commercial use)",
    "musiq": "MUSIQ-SPAQ (pyiqa's, which VBench uses, is not for commercial use)",
    "dreamsim": "DreamSim (the package dreamsim, which fetches networks by itself)",
}
"""Networks that only plugins bring, and why."""


@dataclasses.dataclass(frozen=True, slots=True)
class MetricsConfig:
    """Which metrics judge, and by which weights.

    Attributes:
        profile: 'plain' or 'dev', VBench-Long without and with ``--dev_flag``; 'proxy', surrogates
            without weights.
        dimensions: names to judge by; empty: all six of the profile. Fewer give no total.
        device: 'cpu', 'cuda' or 'cuda:N'.
        precision: of CLIP. VBench runs it in fp16 on a GPU and in fp32 on a CPU.
        batch: pictures a network sees at once; bounds memory, not numbers.
        flow_batch: pairs of frames RAFT and AMT see at once.
        fetch: download weights that are nowhere.
        dino, dinov2, clip_b32, clip_l14, laion_head, raft: a file; empty: look for it (`weights`).
        dino_model, dinov2_model: timm's name, or a JSON file of its `VisionTransformer`'s settings.
        clip_b32_model, clip_l14_model: open_clip's name, or a JSON file of its model config.
        picture_side: of what DINO, CLIP and DreamSim see; 224 for the published networks.
        amt, musiq, dreamsim: a plugin, ``package.module:Class`` (`plugins`).
        amt_weights, musiq_weights, dreamsim_weights: a file handed to the plugin, or empty.
    """

    profile: Profile = "plain"
    dimensions: tuple[str, ...] = ()
    device: str = "cpu"
    precision: Precision = "fp32"
    batch: int = 16
    flow_batch: int = 4
    fetch: bool = False
    dino: str = ""
    dinov2: str = ""
    clip_b32: str = ""
    clip_l14: str = ""
    laion_head: str = ""
    raft: str = ""
    dino_model: str = "vit_base_patch16_224"
    dinov2_model: str = "vit_base_patch14_dinov2"
    clip_b32_model: str = "ViT-B-32-quickgelu"
    clip_l14_model: str = "ViT-L-14-quickgelu"
    picture_side: int = 224
    amt: str = ""
    musiq: str = ""
    dreamsim: str = ""
    amt_weights: str = ""
    musiq_weights: str = ""
    dreamsim_weights: str = ""

    def __post_init__(self) -> None:
        if self.profile not in get_args(Profile):
            raise ValueError(f"profile = {self.profile!r}: choose plain, dev or proxy")
        if self.precision not in get_args(Precision):
            raise ValueError(f"precision = {self.precision!r}: choose fp32, fp16 or bf16")
        if not re.fullmatch(r"cpu|cuda(:\d+)?", self.device):
            raise ValueError(f"device = {self.device!r}: give cpu, cuda or cuda:N")
        for name in ("batch", "flow_batch", "picture_side"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}: give at least 1")
        unknown = set(self.dimensions) - set(self.known)
        if unknown or len(set(self.dimensions)) < len(self.dimensions):
            raise ValueError(
                f"dimensions = {self.dimensions}: give each once, of {', '.join(self.known)}"
            )
        for setting in PLUGINS:
            if named := getattr(self, setting):
                check_name(f"metrics.{setting}", named)

    @property
    def known(self) -> tuple[str, ...]:
        """Every metric of the profile, in VBench's order."""
        return tuple(PROXIES) if self.profile == "proxy" else tuple(DIMENSIONS)

    @property
    def chosen(self) -> tuple[str, ...]:
        """The metrics that judge, in VBench's order."""
        return tuple(name for name in self.known if name in self.dimensions or not self.dimensions)
