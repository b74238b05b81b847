"""Where the weights of VBench's networks are looked for, and what to do where they are not.

A setting names a file; empty, the usual file names are looked for in the home's ``weights`` folder,
then in the caches of the Hugging Face hub and of torch. Nothing is fetched unless the configuration
says so, and what is missing is an error before the first video is opened, never a substitute.

Files are found and hashed as curation does it (`curation.scoring.weights`); only where to look for
which network is said here.
"""

import dataclasses
import functools
from collections.abc import Iterable, Sequence
from pathlib import Path

from curation.scoring.weights import ModelFile, absent, found, local_file, sha256_of
from evaluation.errors import MissingWeightsError
from evaluation.metrics.config import PLUGINS


@dataclasses.dataclass(frozen=True, slots=True)
class Network:
    """Published weights."""

    what: str
    files: tuple[str, ...]
    """Names that a copy of them usually has."""
    repository: str = ""
    """On the Hugging Face hub, holding one of `hub_files`."""
    hub_files: tuple[str, ...] = ()
    url: str = ""
    """Where the first of `files` is published, where no hub holds it."""
    hash_prefix: str = ""
    """The first digits of the sha256 of what `url` gives."""


_OPEN_CLIP_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")

NETWORKS = {
    "dino": Network(
        "DINO ViT-B/16",
        ("dino_vitbase16_pretrain.pth", "vit_base_patch16_224.dino.safetensors"),
        repository="timm/vit_base_patch16_224.dino",
        hub_files=("model.safetensors",),
    ),
    "dinov2": Network(
        "DINOv2 ViT-B/14",
        ("dinov2_vitb14_pretrain.pth", "vit_base_patch14_dinov2.lvd142m.safetensors"),
        repository="timm/vit_base_patch14_dinov2.lvd142m",
        hub_files=("model.safetensors",),
    ),
    "clip_b32": Network(
        "CLIP ViT-B/32",
        ("vit_base_patch32_clip_224.openai.safetensors",),
        repository="timm/vit_base_patch32_clip_224.openai",
        hub_files=_OPEN_CLIP_FILES,
    ),
    "clip_l14": Network(
        "CLIP ViT-L/14",
        ("vit_large_patch14_clip_224.openai.safetensors",),
        repository="timm/vit_large_patch14_clip_224.openai",
        hub_files=_OPEN_CLIP_FILES,
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
    network, used_by = NETWORKS[setting], f"metrics.{setting}"
    names = (named,) if named else network.files
    path = next(filter(None, (local_file(name, folder) for name in names)), None)
    if path is None and not named:
        path = _cached(network)
    if path is None and not named and fetch:
        path = _fetched(network, folder)
    if path is not None:
        return found(used_by, network.what, path)
    return absent(used_by, network.what, _remedy(setting, named, folder))


def find_plugin_weights(setting: str, named: str, folder: Path) -> ModelFile | None:
    """Find the file that a plugin is handed; None where the configuration names none."""
    if not named:
        return None
    path, what = local_file(named, folder), f"weights for the plugin metrics.{setting}"
    if path is None:
        remedy = f"{named} is neither a file nor in {folder}"
        return absent(f"metrics.{setting}_weights", what, remedy)
    return found(f"metrics.{setting}_weights", what, path)


def require_weights(files: Iterable[ModelFile], unnamed: Sequence[str] = ()) -> None:
    """Raise `MissingWeightsError` that names all that is absent, where it belongs, what to do.

    Args:
        files: that were looked for.
        unnamed: settings of plugins that are needed and that the configuration does not name.
    """
    missing = [f"{file.what} ({file.used_by}): {file.remedy}" for file in files if not file.path]
    missing += [
        f"{PLUGINS[setting]}: name an adapter with --set metrics.{setting}=package.module:Class "
        "(docs/metrics.md shows it)"
        for setting in unnamed
    ]
    if missing:
        raise MissingWeightsError(
            f"weights or plugins are missing. {'; '.join(missing)}. Or leave metrics out with "
            "--set metrics.dimensions=..., which gives no total; or judge by surrogates, which "
            "need nothing: --set metrics.profile=proxy"
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
        hits = (try_to_load_from_cache(network.repository, name) for name in network.hub_files)
        return next((Path(hit) for hit in hits if isinstance(hit, str)), None)
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
            return Path(hf_hub_download(network.repository, network.hub_files[0]))
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
    source = network.url or (
        f"{network.repository} on the Hugging Face hub ({' or '.join(network.hub_files)})"
    )
    return (
        f"fetch it from {source} and put it into {folder} as {' or '.join(network.files)}, or name "
        f"it with --set metrics.{setting}=FILE, or allow the download with --set metrics.fetch=true"
    )
