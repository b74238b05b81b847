"""The paper's human study as it was printed, to stand beside ours (TempoMaster, Table 2).

150 prompts, 20 participants, videos of 500 frames at 480p. Other prompts and other people: the rows
say what others measured, and a difference to them is no test. Totals are means of the four columns.
"""

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class Printed:
    """A row of the table; every number is a mean opinion score, 1 to 5."""

    model: str
    total: float
    scores: dict[str, float]


_COLUMNS = ("aesthetic_quality", "semantic_alignment", "motion_quality", "content_consistency")


def _row(model: str, total: float, *scores: float) -> Printed:
    return Printed(model, total, dict(zip(_COLUMNS, scores, strict=True)))


TABLE_2 = (
    _row("FramePack", 3.39, 3.73, 3.28, 2.88, 3.67),
    _row("LongCat", 3.58, 3.72, 3.83, 3.43, 3.34),
    _row("SkyReels-V2", 3.11, 3.24, 3.53, 3.02, 2.64),
    _row("MMPL", 2.93, 3.19, 3.43, 2.65, 2.44),
    _row("TempoMaster", 3.69, 3.71, 3.92, 3.45, 3.68),
)
