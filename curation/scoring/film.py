"""Which scorers a recipe asks for, how each is made, and one film scored by one of them.

A plan is made once, in the process that leads: it finds and hashes weights. Workers are sent the
plan and load the model from it. The trade-off: weights of a gigabyte are read twice, for their hash
and for their use, and nobody can be mistaken about which they were.
"""

import dataclasses
from pathlib import Path
from typing import Any

from curation.components import fingerprint
from curation.scoring.frames import ClipScore, Scorer, judge_film
from curation.scoring.laion_files import HEAD_FILE, LaionModel, find_laion
from curation.traces import Traces
from curation.weights import ModelFile, require

TECHNICAL, LAION = "technical", "laion"
SCORERS = (TECHNICAL, LAION)
_DEVICES, _PRECISIONS = ("auto", "cpu", "cuda"), ("auto", "fp32", "bf16", "fp16")


@dataclasses.dataclass(frozen=True, slots=True)
class ScoreConfig:
    """Which scorers judge the evidence frames, and what LAION's is made of.

    Attributes:
        scorers: of 'technical' and 'laion'.
        model: open_clip's name of LAION's backbone, or a JSON file of another model config.
        backbone: its weights: a tag of open_clip's, or a file.
        head: the linear head's weights: a file. Files are looked for in the home's ``weights`` too.
        fetch: download what the tag stands for if it is not in the local cache. Without it nothing
            is ever fetched.
        device: 'cpu', 'cuda', or 'auto': a GPU where there is one.
        precision: of the backbone: 'fp32', 'bf16', 'fp16', or 'auto': fp16 on a GPU, as OpenAI's
            weights are, else fp32.
        batch: pictures that go through the model together.
    """

    scorers: tuple[str, ...] = ()
    model: str = "ViT-L-14-quickgelu"
    backbone: str = "openai"
    head: str = HEAD_FILE
    fetch: bool = False
    device: str = "auto"
    precision: str = "auto"
    batch: int = 64

    def __post_init__(self) -> None:
        for name in self.scorers:
            if name not in SCORERS:
                raise ValueError(f"score.scorers: no scorer {name!r}; there are {_listed(SCORERS)}")
        for field, known in (("device", _DEVICES), ("precision", _PRECISIONS)):
            value = getattr(self, field)
            if value not in known:
                raise ValueError(f"score.{field} = {value!r}: give one of {_listed(known)}")
        if self.batch < 1:
            raise ValueError(f"score.batch = {self.batch}: give at least 1")

    def files(self, weights: Path) -> list[ModelFile]:
        """Every file that scoring would load, absent ones too.

        Args:
            weights: the home's folder of weights.
        """
        return self._laion(weights).files if LAION in self.scorers else []

    def plans(self, weights: Path) -> list["ScorerPlan"]:
        """The scorers, their weights found and hashed.

        Raises:
            CurationError: weights are absent.
            ValueError: a backbone that is neither a file nor a tag.
        """
        return [
            self._laion_plan(weights)
            if name == LAION
            else ScorerPlan(name, self.batch, identity={})
            for name in dict.fromkeys(self.scorers)
        ]

    def _laion(self, weights: Path) -> LaionModel:
        return find_laion(self.model, self.backbone, self.head, weights, fetch=self.fetch)

    def _laion_plan(self, weights: Path) -> "ScorerPlan":
        model = self._laion(weights)
        require(
            model.files,
            "the recipe curate_offline scores without weights (--set score.scorers=technical)",
        )
        device = _device() if self.device == "auto" else self.device
        half = "fp16" if device == "cuda" else "fp32"
        precision = half if self.precision == "auto" else self.precision
        made_on = {"device": device, "precision": precision}
        return ScorerPlan(LAION, self.batch, model.identity() | made_on, model, device, precision)


@dataclasses.dataclass(frozen=True, slots=True)
class ScorerPlan:
    """A scorer that can be made: what workers are sent."""

    name: str
    batch: int
    identity: dict[str, Any]
    """What decides its numbers, apart from the batch and the evidence: weights by their hash."""
    laion: LaionModel | None = None
    device: str = "cpu"
    precision: str = "fp32"

    def fingerprint(self, scan_fingerprint: str) -> str:
        """What makes its scores: the scorer, its weights, and the scan that left the evidence."""
        parameters = self.identity | {"batch": self.batch, "scan": scan_fingerprint}
        return fingerprint(f"scorer:{self.name}", parameters)

    def make(self) -> Scorer:
        """Load the scorer. Only what it needs is imported: technical scores cost no torch."""
        if self.laion is not None:
            from curation.scoring.laion import LaionScorer

            return LaionScorer(self.laion, self.device, self.precision)
        from curation.scoring.technical import TechnicalScorer

        return TechnicalScorer()


@dataclasses.dataclass(frozen=True, slots=True)
class FilmToScore:
    """A film, and the clips whose scores are wanted."""

    video_id: str
    traces: Path
    clips: tuple[tuple[str, int, int], ...]
    """clip_id, first frame, the frame after the last."""


def score_film(batch: int, scorer: Scorer, film: FilmToScore) -> dict[str, ClipScore]:
    """Scores of a film's clips, by clip_id."""
    judged = judge_film(Traces(film.traces), scorer, batch)
    return {clip_id: judged.clip(start, end) for clip_id, start, end in film.clips}


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names)
