"""One video of an evaluation: its key, how it is made in a worker, and where it is kept.

A cell's folder is named by a hash of all that decides its frames, so that any evaluation finds what
another has made, and a killed one goes on inside of the video where it was. `cell.json` is written
last: a folder without it is unfinished. The price of going by what decides frames is that wall time
and memory are those of the machine that happened to make the video; the record says which.
"""

import dataclasses
import functools
import hashlib
import json
import platform
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import filelock
import torch

from curation.identities import canonical_json, digest
from curation.unfinished import replacing
from evaluation.suites import Prompt
from evaluation.variants import Variant
from model import flops
from model.continuation import round_plans
from model.generation import TreeGenerator
from model.generator_folder import generator_files, load_generator
from model.presets import DiTConfig
from model.request import KEY_VERSION
from model.tree import Plan, plan_tree
from model.tree_cost import plan_cost
from pipelines.devices import Claim, claim_device
from pipelines.evaluate_config import EvaluateConfig, Sampler
from pipelines.generate import produce
from pipelines.generate_job import NODES, GenerateJob
from pipelines.generate_ranks import generate
from pipelines.job import Silence
from pipelines.version import code_version

RECORD, VIDEO = "cell.json", "video.mp4"
_FORMAT = 1
_VERSION = "1"
"""Bumped when the same cell becomes another file than before: encoding, continuing, fitting of
pictures. What decides frames inside of the model room has a version of its own."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """A video to be made.

    Attributes:
        key: names its folder.
        prompt: id.
        variant: number of the evaluation's variant.
        seed: of the video.
        job: how it is made; where to is added in the worker.
        base: what it continues.
    """

    key: str
    prompt: str
    variant: int
    seed: int
    job: GenerateJob
    base: "Cell | None" = None


def cells_of(
    config: EvaluateConfig, prompts: Sequence[Prompt], checkpoint: Path, fingerprint: str
) -> list[Cell]:
    """Every video of an evaluation, in the order of prompts, seeds and variants.

    Args:
        config: what is varied, and how videos are made; its device and dtype are known.
        prompts: of the suite.
        checkpoint: folder of the generator.
        fingerprint: of that folder's files.

    Raises:
        ValueError: a size, dtype or number of levels that generation refuses.
    """
    variants = config.variants
    return [
        _cell(_job(config, prompt, variant, seed, checkpoint), prompt, variant, number, fingerprint)
        for prompt in prompts
        for seed in config.seeds
        for number, variant in enumerate(variants)
    ]


def _cell(
    job: GenerateJob, prompt: Prompt, variant: Variant, number: int, fingerprint: str
) -> Cell:
    key = _key(job, prompt, fingerprint, "")
    cell = Cell(key, prompt.id, number, job.seed, job)
    if not variant.continued:
        return cell
    more = dataclasses.replace(job, frames=variant.continued, first=None)
    key = _key(more, prompt, fingerprint, key)
    return Cell(key, prompt.id, number, job.seed, more, base=cell)


def _job(
    config: EvaluateConfig, prompt: Prompt, variant: Variant, seed: int, checkpoint: Path
) -> GenerateJob:
    sampler, resources = config.sampler, config.resources
    assert resources.device is not None and sampler.dtype is not None
    return GenerateJob(
        checkpoint=checkpoint,
        out=Path(VIDEO),
        prompt=prompt.text,
        width=sampler.width,
        height=sampler.height,
        frames=variant.frames,
        schedule=variant.schedule,
        steps=variant.steps,
        guidance=sampler.guidance,
        shift=sampler.shift,
        solver=sampler.solver,
        negative=sampler.negative,
        seed=seed,
        first=prompt.image,
        batch=sampler.batch,
        ranks=resources.ranks,
        device=resources.device,
        dtype=sampler.dtype,
        offload=resources.offload,
        tiling=resources.tiling,
    )


def _key(job: GenerateJob, prompt: Prompt, fingerprint: str, base: str) -> str:
    levels = [dataclasses.astuple(level) for level in job.sampling.levels]
    decisive = {
        "version": [_VERSION, KEY_VERSION],
        "checkpoint": fingerprint,
        "prompt": prompt.text,
        "negative": job.negative,
        "image": prompt.image_sha256,
        "size": [job.width, job.height],
        "frames": job.frames,
        "schedule": [str(job.tree), job.tree.steps],
        "sampling": [levels, job.solver, job.batch],
        "seed": job.seed,
        "machine": [torch.device(job.device).type, job.dtype, job.tiling],
        "continues": base,
    }
    return digest("cell", canonical_json(decisive))


def checkpoint_fingerprint(folder: Path) -> str:
    """Hash of every file that generation reads of a generator folder, about a second per GB.

    Raises:
        CheckpointError: the folder cannot be a generator.
    """
    whole = hashlib.sha256()
    for path in generator_files(folder):
        with path.open("rb") as file:
            whole.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()[:32]


def petaflops(variant: Variant, sampler: Sampler, network: DiTConfig, text: int) -> float:
    """Operations of the network for one video, guidance included, in 10^15.

    Args:
        variant: schedule, steps and lengths.
        sampler: size of the pictures, and guidance.
        network: its size.
        text: tokens of the prompt, padding included.
    """
    count = len(variant.tree.rates)
    guidance = sampler.guidance * (count if len(sampler.guidance) == 1 else 1)

    def operations(plan: Plan) -> int:
        return plan_cost(plan, network, sampler.height, sampler.width, text).guided(guidance)

    plans = [plan_tree(variant.tree, variant.frames)]
    if variant.continued:
        plans += round_plans(variant.frames, variant.continued, variant.tree)
    return sum(map(operations, plans)) / flops.PETA


def is_made(folder: Path) -> bool:
    """Whether a cell's folder is finished."""
    return (folder / RECORD).is_file() and (folder / VIDEO).is_file()


def discard_nodes(folder: Path) -> None:
    """Remove the latents of a finished cell; a run that was killed just then has left them."""
    # Errors aside: another run may be doing it too, and what stays costs room alone.
    shutil.rmtree((folder / VIDEO).with_suffix(NODES), ignore_errors=True)


def read_record(folder: Path) -> dict[str, Any]:
    """What `make` wrote of a finished cell."""
    record: dict[str, Any] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    return record


@dataclasses.dataclass(frozen=True)
class Maker:
    """What a worker holds.

    Attributes:
        generated: folder of all cells.
        claim: on its device.
        generator: the checkpoint; None where each of several ranks loads it.
    """

    generated: Path
    claim: Claim
    generator: TreeGenerator | None


def load(generated: Path, job: GenerateJob) -> Maker:
    """Set a worker up: take a device, and load the checkpoint there.

    Args:
        generated: folder of all cells.
        job: any of the evaluation; all load alike.
    """
    if job.ranks > 1:
        return Maker(generated, Claim(job.device), None)
    claim = claim_device(generated, job.device)
    loading = dataclasses.replace(job, device=claim.device).loading(0)
    return Maker(generated, claim, load_generator(job.checkpoint, loading))


def make(maker: Maker, cell: Cell) -> None:
    """Make a video, and what it continues, unless they are there.

    Raises:
        ModelError, CurationError, ValueError: it cannot be made.
    """
    folder = maker.generated / cell.key
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder / ".lock"):
        if is_made(folder):
            discard_nodes(folder)
            return
        job = dataclasses.replace(cell.job, out=folder / VIDEO, device=maker.claim.device)
        if cell.base is not None:
            make(maker, cell.base)
            job = dataclasses.replace(job, video=maker.generated / cell.base.key / VIDEO)
        # A half-made video costs less to finish than it cost: its wall time says nothing.
        continued = any(job.nodes_folder.glob("*/*.safetensors"))
        if maker.generator is None:
            made = generate(job, Silence(), threads=torch.get_num_threads())
        else:
            produced = produce(job, Silence(), generator=maker.generator)
            assert produced is not None
            made = produced
        record = {
            "format": _FORMAT,
            "key": cell.key,
            "base": cell.base.key if cell.base else None,
            "frames": made.frames,
            "sha256": json.loads(made.record.read_text(encoding="utf-8"))["made"]["sha256"],
            "seconds": None if continued else made.seconds,
            "first_segment_seconds": None if continued else made.first_segment_seconds,
            "peak_bytes": made.peak_bytes,
            "joints": [dataclasses.asdict(joint) for joint in made.joints],
            "device": _device_name(maker.claim.device),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "code": code_version(),
        }
        with replacing(folder / RECORD) as partial:
            partial.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n")
        discard_nodes(folder)


@functools.cache
def _device_name(device: str) -> str:
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    return platform.machine() or "cpu"
