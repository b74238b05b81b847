"""Has a network learnt? Its loss on held-out films, beside everything simple that it should beat.

Windows, noise and times are fixed, and all contestants see the same. Beaten must be the untrained
network, the best constant of each channel, the best linear function of z_t of each channel (both
fitted to the very windows they are judged on, which favours them) and, where frames are given, a
copy of the nearest given frame: the velocity (z_t - z) / t, where z are the latents of the copies.
Differences are taken window by window; their 95 % intervals are of a bootstrap over clips, whose
windows stay together.

    python -m benchmarks.learning --checkpoint RUN/step-00001200 --dataset MANIFEST --svg loss.svg
"""

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmarks.learning_picture import draw
from model.dit import MultiMaskDiT
from model.generation import TreeGenerator
from model.generator_folder import DESCRIPTION, load_generator
from training.batches import Batch
from training.data import DataConfig
from training.draws import Draws, Purpose
from training.masks import MaskConfig, MaskKind, mask_of
from training.objective import Inputs, Objective, ObjectiveConfig, losses_of
from training.plan import BatchConfig
from training.validation import Validation, ValidationConfig
from training.windows import WindowConfig

F64 = npt.NDArray[np.float64]
KINDS: tuple[MaskKind, ...] = ("none", "first", "every4", "every2")
TIMES = (0.3, 0.5, 0.7, 0.9)
NETWORK, UNTRAINED, CONSTANT, LINEAR, COPY = "network", "untrained", "constant", "linear", "copy"
COPY_IS_BEATEN = {("first", 0.3), ("first", 0.5), ("first", 0.7), ("every4", 0.3)}
"""Where the network must beat the copy; with more frames given and more noise a copy is good."""

_RESAMPLED, _LEVEL = 4000, 95


@dataclasses.dataclass(frozen=True)
class Measured:
    """Losses of all contestants.

    Attributes:
        clips: `[W]` the clip of each window.
        losses: (contestant, kind, t) -> `[W]`.
    """

    clips: npt.NDArray[np.str_]
    losses: dict[tuple[str, str, float], F64]

    def mean(self, name: str, kind: str, t: float) -> float:
        """Mean over windows; NaN where a contestant does not apply."""
        found = self.losses.get((name, kind, t))
        return float("nan") if found is None else float(found.mean())

    def interval(self, differences: F64) -> tuple[float, float]:
        """95 % interval of the mean of `[W]` differences, by a bootstrap over clips."""
        names, which = np.unique(self.clips, return_inverse=True)
        sums, counts = (np.bincount(which, weights=w) for w in (differences, np.ones(len(which))))
        drawn = np.random.default_rng(0).integers(len(names), size=(_RESAMPLED, len(names)))
        means = sums[drawn].sum(1) / counts[drawn].sum(1)
        low, high = np.percentile(means, [50 - _LEVEL / 2, 50 + _LEVEL / 2])
        return float(low), float(high)


@dataclasses.dataclass(frozen=True, slots=True)
class Claim:
    """One thing that must hold: the mean of a difference is below zero."""

    text: str
    low: float
    high: float

    @property
    def holds(self) -> bool:
        """With 95 % confidence."""
        return self.high < 0


def measure(validation: Validation, generator: TreeGenerator) -> Measured:
    """Run all contestants over the held-out windows."""
    torch.manual_seed(0)
    untrained = MultiMaskDiT.of(generator.size).eval()
    objective = Objective(generator.codec, generator.text, ObjectiveConfig(codec_samples=16))
    clips: list[str] = []
    found: dict[tuple[str, str, float], list[Tensor]] = {}
    fits: dict[float, list[Inputs]] = {t: [] for t in TIMES}
    for part in validation.held_out():
        rows = len(part.places)
        clips += part.batch.sample_ids[:rows]
        for kind in KINDS:
            inputs = validation.inputs(part.batch, kind)
            copies = copied(part.batch, kind, generator) if kind != "none" else None
            for t in TIMES:
                at = dataclasses.replace(inputs, times=torch.full_like(inputs.times, t))
                said = {
                    NETWORK: objective.loss(generator.network, at).per_sample,
                    UNTRAINED: objective.loss(untrained, at).per_sample,
                }
                if copies is not None:
                    said[COPY] = losses_of((at.noisy - copies) / t, at).per_sample
                for name, losses in said.items():
                    found.setdefault((name, kind, t), []).append(losses[:rows])
                if kind == KINDS[0]:
                    fits[t].append(at)
    whole: dict[tuple[str, str, float], F64] = {
        key: torch.cat(parts).double().numpy() for key, parts in found.items()
    }
    for t, inputs_at in fits.items():
        for name, fitted in fitted_losses(inputs_at).items():
            whole |= {(name, kind, t): fitted[: len(clips)] for kind in KINDS}
    return Measured(np.array(clips), whole)


def copied(batch: Batch, kind: MaskKind, generator: TreeGenerator) -> Tensor:
    """Latents of a film in which every frame is the nearest given one; the earlier of two."""
    mask = mask_of(kind, batch.bucket.frames, MaskConfig(), Draws(0, Purpose.MASK))
    given = torch.from_numpy(mask).nonzero()[:, 0]
    frames = torch.arange(batch.bucket.frames)
    nearest = given[(frames[:, None] - given[None]).abs().argmin(dim=1)]
    return generator.codec.encode(batch.frames()[:, :, nearest])


def fitted_losses(parts: list[Inputs]) -> dict[str, F64]:
    """The best constant, and the best linear function of z_t, of each channel, per window."""
    entered = torch.cat([part.noisy for part in parts]).double()
    wanted = torch.cat([part.target for part in parts]).double()
    over = (0, 2, 3, 4)
    mean_in, mean_out = entered.mean(over, keepdim=True), wanted.mean(over, keepdim=True)
    spread = (entered - mean_in).square().mean(over, keepdim=True)
    slope = ((entered - mean_in) * (wanted - mean_out)).mean(over, keepdim=True) / spread
    said = {CONSTANT: mean_out, LINEAR: mean_out + slope * (entered - mean_in)}
    return {
        name: (wanted - velocity).square().mean(dim=(1, 2, 3, 4)).numpy()
        for name, velocity in said.items()
    }


def claims(measured: Measured) -> list[Claim]:
    """All that must hold of a network that has learnt."""

    def losses(name: str, kind: str, t: float) -> F64:
        return measured.losses[name, kind, t]

    made = []
    for kind in KINDS:
        for t in TIMES:
            others = [UNTRAINED, CONSTANT, LINEAR]
            others += [COPY] if (kind, t) in COPY_IS_BEATEN else []
            for other in others:
                difference = losses(NETWORK, kind, t) - losses(other, kind, t)
                text = f"{kind} at t = {t}: below {other}"
                made.append(Claim(text, *measured.interval(difference)))
    for t in TIMES:
        for less, more in (("every2", "every4"), ("every4", "first"), ("first", "none")):
            difference = losses(NETWORK, less, t) - losses(NETWORK, more, t)
            made.append(Claim(f"{less} below {more} at t = {t}", *measured.interval(difference)))
        halved = losses(NETWORK, "every4", t) - losses(NETWORK, "none", t) / 2
        made.append(Claim(f"every4 at most half of none at t = {t}", *measured.interval(halved)))
    return made


def table(measured: Measured) -> list[str]:
    """Mean losses as a table in Markdown."""
    contestants = (NETWORK, UNTRAINED, CONSTANT, LINEAR, COPY)
    lines = [f"| given | t | {' | '.join(contestants)} |", "|---|---|" + "---:|" * len(contestants)]
    for kind in KINDS:
        for t in TIMES:
            means = [measured.mean(name, kind, t) for name in contestants]
            cells = ["–" if np.isnan(mean) else f"{mean:.3f}" for mean in means]
            lines.append(f"| {kind} | {t} | {' | '.join(cells)} |")
    return lines


def open_checkpoint(folder: Path) -> TreeGenerator:
    """A generator folder, or a training checkpoint that holds one.

    Raises:
        CheckpointError: neither.
    """
    within = folder / "generator"
    return load_generator(within if (within / DESCRIPTION).is_file() else folder)


def data_of(arguments: argparse.Namespace, generator: TreeGenerator) -> DataConfig:
    """How the held-out films are shown."""
    width, height = map(int, arguments.size.split("x"))
    side = generator.codec.geometry.space * generator.size.patch_size[1]
    return DataConfig(
        windows=WindowConfig(
            sizes=((width, height),),
            rates=tuple(map(int, arguments.rates.split(","))),
            lengths=(arguments.frames,),
            min_seconds=0.0,
            max_seconds=None,
            max_crop=arguments.max_crop,
            token_side=side,
        ),
        batch=BatchConfig(microbatches=1, samples=8),
    )


def main(arguments: argparse.Namespace) -> int:
    """Measure, and print; 1 where a claim does not hold."""
    generator = open_checkpoint(arguments.checkpoint)
    config = ValidationConfig(windows=arguments.windows, times=TIMES, masks=KINDS)
    objective = Objective(generator.codec, generator.text, ObjectiveConfig(codec_samples=16))
    data = data_of(arguments, generator)
    with (
        Validation(str(arguments.dataset), data, config, objective) as validation,
        torch.no_grad(),
    ):
        measured = measure(validation, generator)
    clips = len(set(measured.clips.tolist()))
    print(f"{arguments.windows} windows of {clips} held-out clips\n")
    print("\n".join(table(measured)))
    print()
    failed = 0
    for claim in claims(measured):
        failed += not claim.holds
        verdict = "yes" if claim.holds else "NO"
        print(f"{verdict:<4}{claim.text:<44}{claim.low:+8.3f} to {claim.high:+.3f}")
    if arguments.svg is not None:
        arguments.svg.write_text(draw(TIMES, picture_of(measured)), encoding="utf-8")
        print(f"\npicture: {arguments.svg}")
    return 1 if failed else 0


def picture_of(measured: Measured) -> dict[str, dict[str, list[float]]]:
    """Kind -> contestant -> mean loss at each time, of what fits one scale."""
    shown = (NETWORK, LINEAR, COPY)
    return {
        kind: {name: [measured.mean(name, kind, t) for t in TIMES] for name in shown}
        for kind in KINDS
    }


def arguments_of() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, required=True, help="training checkpoint")
    parser.add_argument("--dataset", type=Path, required=True, help="manifest.json of a version")
    parser.add_argument("--windows", type=int, default=64, help="held-out windows")
    parser.add_argument("--size", default="96x64", help="WIDTHxHEIGHT")
    parser.add_argument("--frames", type=int, default=17, help="of a window")
    parser.add_argument("--rates", default="6,12,24", help="frames per second, each as often")
    parser.add_argument("--max-crop", type=float, default=0.6, help="of a picture")
    parser.add_argument("--svg", type=Path, help="where to draw the losses")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main(arguments_of()))
