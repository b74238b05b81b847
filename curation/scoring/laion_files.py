"""Which files LAION's aesthetic scorer needs, and what its numbers depend on: no model is loaded.

Apart from the scorer itself, so that a run can be planned, and refused, without importing torch;
only a backbone that is named by one of open_clip's tags costs that import, to look the tag up.
"""

import dataclasses
from pathlib import Path
from typing import Any

from curation.weights import ModelFile, absent, found, local_file, sha256_of

HEAD_FILE = "sa_0_4_vit_l_14_linear.pth"
_HEAD_SOURCE = "github.com/LAION-AI/aesthetic-predictor"


@dataclasses.dataclass(frozen=True, slots=True)
class LaionModel:
    """What the scorer is made of, found and hashed.

    Attributes:
        model: open_clip's name of the architecture, or a JSON file of its model config.
        backbone: the backbone's weights.
        head: the linear head's weights.
        preprocess: where the backbone's tag departs from open_clip's defaults.
    """

    model: str
    backbone: ModelFile
    head: ModelFile
    preprocess: dict[str, Any]

    @property
    def files(self) -> list[ModelFile]:
        """Every file that is loaded."""
        return [self.backbone, self.head]

    def identity(self) -> dict[str, Any]:
        """What decides the numbers: weights by their bytes, wherever they lie."""
        config = Path(self.model)
        return {
            "model": config.read_text(encoding="utf-8") if config.is_file() else self.model,
            "backbone": sha256_of(self.backbone),
            "head": sha256_of(self.head),
            "preprocess": self.preprocess,
        }


def find_laion(model: str, backbone: str, head: str, folder: Path, *, fetch: bool) -> LaionModel:
    """Find the files of the scorer; absent ones are reported, not raised.

    Args:
        model: open_clip's name of the architecture, or a JSON file of its model config.
        backbone: a tag of open_clip's for that name, or a file.
        head: a file.
        folder: where files are looked for that are named without a path.
        fetch: download what open_clip's tag stands for if it is not in the local cache.

    Raises:
        ValueError: neither a file nor one of open_clip's tags.
    """
    path = local_file(backbone, folder)
    preprocess: dict[str, Any] = {}
    what = f"backbone {Path(model).stem if model.endswith('.json') else model}, {backbone}"
    remedy = f"put the file into {folder} or name it with --set score.backbone=FILE"
    if path is None:
        path, preprocess, remedy = _of_tag(model, backbone, folder, fetch=fetch)
    weights = found("score.backbone", what, path) if path else None
    place = local_file(head, folder)
    return LaionModel(
        model=model,
        backbone=weights or absent("score.backbone", what, remedy),
        head=found("score.head", f"LAION's linear head {head}", place)
        if place
        else absent(
            "score.head",
            f"LAION's linear head {head}",
            f"fetch {HEAD_FILE} from {_HEAD_SOURCE} and put it into {folder}, or name it with "
            "--set score.head=FILE",
        ),
        preprocess=preprocess,
    )


def _of_tag(
    model: str, tag: str, folder: Path, *, fetch: bool
) -> tuple[Path | None, dict[str, Any], str]:
    """The file that a tag of open_clip's stands for, its preprocessing, and what to do without."""
    # Imported where it is needed: it brings torch with it.
    from huggingface_hub import try_to_load_from_cache
    from open_clip import list_pretrained_tags_by_model
    from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME
    from open_clip.pretrained import download_pretrained, get_pretrained_cfg

    tagged = get_pretrained_cfg(model, tag)
    if not tagged:
        known = ", ".join(list_pretrained_tags_by_model(model)) or "none, give a file"
        raise ValueError(
            f"score.backbone = {tag!r}: no such file, here or in {folder}, and no tag of "
            f"open_clip's for {model}; tags: {known}"
        )
    repository, _, file = tagged.get("hf_hub", "").rpartition("/")
    names = [file] if file else [HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME]
    cached = [try_to_load_from_cache(repository, name) for name in names] if repository else []
    path = next((Path(hit) for hit in cached if isinstance(hit, str)), None)
    if path is None and fetch:
        path = Path(download_pretrained(tagged))
    source = f"{repository} on the Hugging Face hub" if repository else tagged.get("url")
    remedy = (
        f"fetch {' or '.join(names)} of {source}, put it into {folder} and name it with "
        "--set score.backbone=FILE, or allow the download with --set score.fetch=true"
    )
    return path, _departures(tagged), remedy


def _departures(tagged: dict[str, Any]) -> dict[str, Any]:
    """What a tag says of preprocessing that is not open_clip's default."""
    from open_clip.transform import PreprocessCfg

    default = dataclasses.asdict(PreprocessCfg())
    return {
        name: value for name, value in tagged.items() if name in default and default[name] != value
    }
