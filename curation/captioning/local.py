"""Which model captions on this machine, and where its weights are found.

Apart from the captioner (`curation.captioning.vlm`), which imports torch: this half is read by
every recipe. Any image-text-to-text model of the hub can stand here; the default is of the Qwen-VL
family, Apache-2.0, about 18 GB in bfloat16.
"""

import dataclasses
import hashlib
from pathlib import Path
from typing import Literal

from curation.captioning.asking import AskConfig
from curation.components import fingerprint
from curation.errors import CaptionError

_WEIGHTS = "*.safetensors"
_NEEDED = (_WEIGHTS, "*.json", "*.jinja", "*.txt", "*.model")
"""Weights in the one format that cannot carry code; configuration, tokenizer, chat template."""


@dataclasses.dataclass(frozen=True, slots=True)
class LocalConfig:
    """A vision-language model that transformers can load.

    Attributes:
        model: a hub id, or a folder as ``save_pretrained`` or ``hf download --local-dir`` leave it.
        revision: branch, tag or commit on the hub; of no meaning for a folder.
        fetch: download what the hub's local cache does not hold. Without it nothing is fetched.
        dtype: ``auto`` is bfloat16 on a GPU and float32 elsewhere.
        device: ``auto`` is the first GPU where there is one, else the CPU.
        clips_at_once: clips in a batch. Batches are cut within a film, in the order of clip ids.
        processes: workers, each with a model of its own. For several GPUs, serve the model (vLLM)
            and use the captioner ``endpoint``.
        batch_seconds: a batch that takes longer is given up.
    """

    model: str = "Qwen/Qwen3-VL-8B-Instruct"
    revision: str = "main"
    fetch: bool = False
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device: str = "auto"
    clips_at_once: int = 8
    processes: int = 1
    batch_seconds: float = 1800.0

    def __post_init__(self) -> None:
        if not self.model or not self.revision or not self.device:
            raise ValueError("caption.local: model, revision and device may not be empty")
        for name in ("clips_at_once", "processes", "batch_seconds"):
            if not getattr(self, name) > 0:
                raise ValueError(f"caption.local.{name} = {getattr(self, name)}: give more than 0")


@dataclasses.dataclass(frozen=True, slots=True)
class Weights:
    """A model's files on this machine."""

    folder: Path
    name: str
    """What rows call it: hub id and commit, or the folder's name and a hash of its content."""

    def files(self) -> list[Path]:
        """All that is loaded of the folder, by name."""
        return _files(self.folder)

    def fingerprint(self, config: LocalConfig, ask: AskConfig) -> str:
        """What decides the words.

        Device and batch size are left out: they move a word only where two are equally likely to
        the last digits.
        """
        asked = {"weights": self.name, "dtype": config.dtype}
        return fingerprint("captioner:local", {"local": asked, "ask": ask})


def find_weights(config: LocalConfig) -> Weights:
    """Find the model's files, and fetch them where the recipe says so.

    A folder is known by a hash of its content (a second for each GB).

    Raises:
        CaptionError: they are not to be had; says what to fetch, where to put it, and how to do
            without.
    """
    folder = Path(config.model)
    if folder.is_dir():
        if not list(folder.glob(_WEIGHTS)):
            raise _missing(config, f"{folder} holds no {_WEIGHTS}")
        return Weights(folder.absolute(), f"{folder.name}@{_content(folder)}")
    folder = _from_hub(config)
    if not list(folder.glob(_WEIGHTS)):
        raise _missing(config, f"of {config.model} only parts are here, and no {_WEIGHTS}")
    return Weights(folder, f"{config.model}@{folder.name}")


def _from_hub(config: LocalConfig) -> Path:
    import httpx
    from huggingface_hub import snapshot_download

    try:
        found = snapshot_download(
            config.model,
            revision=config.revision,
            allow_patterns=list(_NEEDED),
            local_files_only=not config.fetch,
        )
    except (OSError, ValueError, httpx.HTTPError) as error:  # no such model, no network, offline
        raise _missing(config, str(error).splitlines()[0]) from error
    return Path(found)


def _missing(config: LocalConfig, why: str) -> CaptionError:
    return CaptionError(
        f"captioner local: no weights for {config.model!r} ({why}). Fetch them by --set "
        f"caption.local.fetch=true, or elsewhere by hf download {LocalConfig().model} --local-dir "
        "FOLDER and --set caption.local.model=FOLDER. Without a model: --set "
        "captioners=sidecar,describe"
    )


def _files(folder: Path) -> list[Path]:
    return sorted({path for pattern in _NEEDED for path in folder.glob(pattern)})


def _content(folder: Path) -> str:
    """Hash of names and bytes of all that is loaded."""
    hasher = hashlib.sha256()
    for path in _files(folder):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        hasher.update(f"{path.name}\0{digest}\n".encode())
    return hasher.hexdigest()[:16]
