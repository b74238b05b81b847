"""Videos of evaluations, as material of a human study: people judge what metrics have judged.

Systems are the variants of an evaluation; of several evaluations (two checkpoints, say) the same
prompts and seeds are taken. A video that could not be made takes its item out, for every rater must
be able to compare.
"""

from collections.abc import Sequence
from pathlib import Path

from evaluation.results import Evaluation
from pipelines.evaluate_cells import VIDEO, is_made
from pipelines.report_eval import read_evaluation
from pipelines.settings import Home
from pipelines.study_videos import Material

_SHORT = 8


def material_of(home: Home, runs: Sequence[str]) -> Material:
    """Videos that evaluations of a home have made.

    Args:
        home: that holds them.
        runs: ids of evaluations, beginnings of such, or ``latest``.

    Raises:
        EvaluationError: no such evaluation.
        ValueError: they have no prompt and seed of which all videos are there.
    """
    evaluations = [read_evaluation(home, run) for run in runs]
    found: dict[tuple[str, int], dict[str, Path]] = {}
    prompts: dict[str, str] = {}
    systems: list[str] = []
    for evaluation in evaluations:
        names = _names(evaluation, alone=len(evaluations) == 1)
        systems += names
        prompts |= {prompt.id: prompt.text for prompt in evaluation.prompts}
        for video in evaluation.videos:
            folder = home.generated / video.key
            if is_made(folder):
                by_system = found.setdefault((video.prompt, video.seed), {})
                by_system[names[video.variant]] = folder / VIDEO
    return _complete(found, systems, prompts)


def _names(evaluation: Evaluation, *, alone: bool) -> list[str]:
    ending = "" if alone else f" ({evaluation.id[:_SHORT]})"
    return [f"{row.label}{ending}" for row in evaluation.variants]


def _complete(
    found: dict[tuple[str, int], dict[str, Path]], systems: list[str], prompts: dict[str, str]
) -> Material:
    several = len({seed for _, seed in found}) > 1
    items, texts = {}, {}
    for (prompt, seed), videos in found.items():
        if set(videos) == set(systems):
            name = f"{prompt} seed {seed}" if several else prompt
            items[name] = {system: videos[system] for system in systems}
            texts[name] = prompts[prompt]
    if not items:
        raise ValueError(
            f"the evaluations have no prompt of which all of {len(systems)} variants have a video; "
            "finish them with tempo evaluate"
        )
    lost = len(found) - len(items)
    note = f"{lost} of {len(found)} prompts lack a video of some variant and are left out"
    return Material(items, texts, (note,) if lost else ())
