"""The four dimensions of the paper's human study, and what costs points (TempoMaster, Appendix C).

The appendix's rules stand beside each scale while a rater chooses, so that 20 people deduct for the
same things. A study file holds its own copy: what raters were told is part of the record.
"""

import dataclasses
import re

import pydantic

LOWEST, HIGHEST = 1, 5
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


@dataclasses.dataclass(frozen=True, slots=True)
class Dimension:
    """One thing that is rated from 1 (worst) to 5 (best)."""

    name: str
    title: str
    question: str
    deductions: tuple[str, ...]
    """What costs points, a sentence for each rule."""

    __pydantic_config__ = pydantic.ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or self.name == "total":
            raise ValueError(
                f"dimension name = {self.name!r}: use a-z, 0-9 and _, not 'total', e.g. "
                "motion_quality"
            )
        if not (self.title.strip() and self.question.strip()):
            raise ValueError(f"dimension {self.name}: title and question cannot be empty")


APPENDIX_C = (
    Dimension(
        name="aesthetic_quality",
        title="Aesthetic quality",
        question="How appealing is the picture: composition, clarity, lighting, detail?",
        deductions=(
            "Overexposed, cluttered, blurry or with artifacts: take points off.",
            "A severe flaw: 1.",
        ),
    ),
    Dimension(
        name="semantic_alignment",
        title="Semantic alignment",
        question="Does it show what the text says: background, action, lighting?",
        deductions=(
            "A minor deviation: one point off.",
            "An action done only in part, or not at all: 1 or 2.",
        ),
    ),
    Dimension(
        name="motion_quality",
        title="Motion quality",
        question="Is there enough movement, at a fitting speed, and could it be real?",
        deductions=(
            "Frames that stand still, incoherent motion: take points off.",
            "Implausible dynamics, severe artifacts: take points off.",
        ),
    ),
    Dimension(
        name="content_consistency",
        title="Content consistency",
        question="Does it hold from the first second to the last?",
        deductions=(
            "Subjects that change their look, motion that falls apart or repeats: take points off.",
            "Colours that shift, a picture that blurs: take points off.",
            "Strong drift or decay: 1.",
        ),
    ),
)
