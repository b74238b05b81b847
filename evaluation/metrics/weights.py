"""Where the weights of VBench's networks are looked for, and what to do where they are not.

A setting names a file; empty, the usual file names are looked for in the home's ``weights`` folder,
then in the caches of the Hugging Face hub and of torch. Nothing is fetched unless the configuration
says so, and what is missing is an error before the first video is opened, never a substitute.

Files are found and hashed as curation does it (`curation.weights`); only where to look for
which network is said here.
"""

import dataclasses
import functools
from collections.abc import Iterable, Sequence
from pathlib import Path

from curation.weights import ModelFile, absent, found, local_file, sha256_of
from evaluation.errors import MissingWeightsError
from evaluation.metrics.config import PLUGINS


@dataclasses.dataclass(frozen=True, slots=True)
class Network:
    """Published weights."""

    what: str
    files: tuple[str, ...]
    """Names that a copy of them has; the first is what the hub or `url` gives."""
    repository: str = ""
    """On the Hugging Face hub, holding `hub_file`."""
    hub_file: str = ""
    url: str = ""
    """Where the first of `files` is published, where no hub holds it."""
    hash_prefix: str = ""
    """The first digits of the sha256 of what `url` gives."""


NETWORKS = {
    "dino": Network(
        "DINO ViT-B/16",
        ("vit_base_patch16_224.dino.safetensors", "dino_vitbase16_pretrain.pth"),
        repository="timm/vit_base_patch16_224.dino",
        hub_file="model.safetensors",
    ),
    "dinov2": Network(
        "DINOv2 ViT-B/14",
        ("vit_base_patch14_dinov2.lvd142m.safetensors", "dinov2_vitb14_pretrain.pth"),
        repository="timm/vit_base_patch14_dinov2.lvd142m",
        hub_file="model.safetensors",
    ),
    "clip_b32": Network(
        "CLIP ViT-B/32",
        ("vit_base_patch32_clip_224.openai.safetensors",),
        repository="timm/vit_base_patch32_clip_224.openai",
        hub_file="open_clip_model.safetensors",
    ),
    "clip_l14": Network(
        "CLIP ViT-L/14",
        ("vit_large_patch14_clip_224.openai.safetensors",),
        repository="timm/vit_large_patch14_clip_224.openai",
        hub_file="open_clip_model.safetensors",
    ),
    "laion_head": Network(
        "LAION's linear head",
        ("sa_0_4_vit_l_14_linear.pth",),
        url="https://github.com/LAION-AI/aesthetic-predictor/raw/main/sa_0_4_vit_l_14_linear.pth",
        hash_prefix="2cd4e60f4f24ae3b",
    ),
    "raft": Network(
        "RAFT (large, C_T_V1)",
        ("raft_large_C_T_V1-22a6c225.pth",),
        url="https://download.pytorch.org/models/raft_large_C_T_V1-22a6c225.pth",
        hash_prefix="22a6c225",
    ),
}


def find_weights(setting: str, named: str, folder: Path, *, fetch: bool) -> ModelFile:
    """Find a network's weights; absent ones are reported, not raised.

    Args:
        setting: its name in `NETWORKS`, and in the configuration.
        named: a file; empty: look for it.
        folder: where files are looked for that are named without a path, and put if fetched.
        fetch: download what is nowhere.
    """
    network = NETWORKS[setting]
    names = (named,) if named else network.files
    path = next(filter(None, (local_file(name, folder) for name in names)), None)
    if path is None and not named:
        path = _cached(network)
    if path is None and not named and fetch:
        path = _fetched(network, folder)
    if path is not None:
        return found(setting, network.what, path)
    return absent(setting, network.what, _remedy(setting, named, folder))


def find_plugin_weights(setting: str, named: str, folder: Path) -> ModelFile | None:
    """Find the file that a plugin is handed; None where the configuration names none."""
    if not named:
        return None
    path, what = local_file(named, folder), f"weights for the plugin metrics.{setting}"
    if path is None:
        remedy = f"{named} is neither a file nor in {folder}"
        return absent(f"{setting}_weights", what, remedy)
    return found(f"{setting}_weights", what, path)


def require_weights(files: Iterable[ModelFile], folder: Path, unnamed: Sequence[str] = ()) -> None:
    """Raise `MissingWeightsError` that names all that is absent, where it belongs, what to do.

    Args:
        files: that were looked for.
        folder: where they belong.
        unnamed: settings of plugins that are needed and that the configuration does not name.
    """
    missing = [
        f"{file.what} (metrics.{file.used_by}): {file.remedy}" for file in files if not file.path
    ]
    adapters = [f"{PLUGINS[setting]} (metrics.{setting})" for setting in unnamed]
    told = []
    if missing:
        told.append(
            f"weights are missing: {'; '.join(missing)}. Put them into {folder}, or name each with "
            "--set metrics.SETTING=FILE, or allow downloads with --set metrics.fetch=true"
        )
    if adapters:
        told.append(
            f"plugins are missing: {'; '.join(adapters)}. Name an adapter for each with --set "
            "metrics.SETTING=package.module:Class; docs/metrics.md shows them"
        )
    if told:
        raise MissingWeightsError(
            f"{'. '.join(told)}. Or leave metrics out with --set metrics.dimensions=..., which "
            "gives no total; or judge by surrogates, which need nothing: --set "
            "metrics.profile=proxy"
        )


def identity(file: ModelFile) -> str:
    """Hash of a file's bytes; computed once per process and file."""
    assert file.path is not None
    about = file.path.stat()
    return _identity(file, about.st_size, about.st_mtime_ns)


@functools.cache
def _identity(file: ModelFile, size: int, mtime: int) -> str:  # noqa: ARG001 - they are the key
    return sha256_of(file)


def _cached(network: Network) -> Path | None:
    """A copy in the caches of the hub or of torch."""
    import torch
    from huggingface_hub import try_to_load_from_cache

    if network.repository:
        hit = try_to_load_from_cache(network.repository, network.hub_file)
        return Path(hit) if isinstance(hit, str) else None
    place = Path(torch.hub.get_dir()) / "checkpoints" / network.files[0]
    return place if place.is_file() else None


def _fetched(network: Network, folder: Path) -> Path:
    """Download a network's weights.

    Raises:
        MissingWeightsError: it cannot be done.
    """
    import torch
    from huggingface_hub import hf_hub_download

    try:
        if network.repository:
            return Path(hf_hub_download(network.repository, network.hub_file))
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / network.files[0]
        torch.hub.download_url_to_file(
            network.url, str(target), hash_prefix=network.hash_prefix or None, progress=False
        )
    except (OSError, RuntimeError) as error:
        source = network.repository or network.url
        raise MissingWeightsError(
            f"{network.what} cannot be fetched from {source}: {error}"
        ) from error
    return target


def _remedy(setting: str, named: str, folder: Path) -> str:
    network = NETWORKS[setting]
    if named:
        return f"{named} is neither a file nor in {folder}"
    if network.url:
        return f"{network.files[0]} from {network.url}"
    return (
        f"{network.files[0]}, which is {network.hub_file} of {network.repository} on the "
        "Hugging Face hub"
    )
