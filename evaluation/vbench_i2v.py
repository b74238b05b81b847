"""VBench's image-to-video suite, imported from its own files (Huang et al., VBench; Table 1).

Its JSON names prompts, pictures and the dimensions that each prompt is counted for; its pictures
come cut to four shapes, or whole with a list of boxes. Nothing of it is shipped here. Prompts of
camera motion are left out unless asked for, because none of the paper's six dimensions reads them.
"""

import dataclasses
import json
import re
import unicodedata
from pathlib import Path
from typing import TypeVar

import pydantic
from PIL import Image

from curation.unfinished import replacing
from evaluation.score import DIMENSIONS
from evaluation.suites import Prompt, checked_picture, write_suite

EntryT = TypeVar("EntryT")
RATIOS = ("1-1", "8-5", "7-4", "16-9")
"""Shapes, width to height, for which VBench lists boxes."""
LICENCE = "Pexels or Pixabay (VBench I2V image suite)"
_BY_SUBJECT = {
    "i2v_subject": (
        "subject_consistency", "motion_smoothness", "dynamic_degree",
        "aesthetic_quality", "imaging_quality",
    ),
    "i2v_background": ("background_consistency", "aesthetic_quality", "imaging_quality"),
}  # fmt: skip
"""Which data each quality dimension is measured on, by VBench's own table; early versions of its
list name the two kinds of data alone."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Entry:
    """One entry of ``vbench2_i2v_full_info.json``; other fields of it are not read."""

    prompt_en: str
    dimension: tuple[str, ...]
    image_name: str | None = None

    @property
    def counted_for(self) -> tuple[str, ...]:
        """The dimensions of the paper that are averaged over this prompt."""
        listed = set(self.dimension)
        if not listed & DIMENSIONS.keys():
            listed = {d for kind in self.dimension for d in _BY_SUBJECT.get(kind, ())}
        return tuple(name for name in DIMENSIONS if name in listed)


@dataclasses.dataclass(frozen=True, slots=True)
class _Boxes:
    """One picture of ``i2v-bench-info.json``."""

    file_name: str
    diff_ratio_crop: dict[str, tuple[int, int, int, int]]
    """Shape -> left, top, width, height."""


def import_suite(
    info: Path, images: Path, out: Path, *, boxes: Path | None = None, ratio: str = "16-9"
) -> int:
    """Write VBench's image-to-video prompts as a manifest of ours.

    Args:
        info: ``vbench2_i2v_full_info.json``.
        images: the folder of pictures cut to a shape (``crop/16-9``); with `boxes` of whole ones.
        out: the manifest; cut pictures go into a folder beside it, others stay where they are.
        boxes: ``i2v-bench-info.json``.
        ratio: shape to cut whole pictures to.

    Returns:
        How many prompts it has.

    Raises:
        ValueError: a file is missing or not VBench's.
    """
    if ratio not in RATIOS:
        raise ValueError(f"ratio={ratio!r}: VBench has boxes for {', '.join(RATIOS)}")
    entries = [entry for entry in _read(info, _Entry) if entry.counted_for]
    if not entries:
        raise ValueError(f"{info}: no prompt in it is for one of {', '.join(DIMENSIONS)}")
    cut = {
        picture.file_name: picture.diff_ratio_crop
        for picture in (_read(boxes, _Boxes) if boxes else ())
    }
    prompts = []
    for number, entry in enumerate(entries):
        where = f"{info}, prompt {entry.prompt_en!r}"
        if not entry.image_name or Path(entry.image_name).name != entry.image_name:
            raise ValueError(f"{where}: image_name={entry.image_name!r} is no file's name")
        picture = (images / entry.image_name).absolute()
        name = f"{number:03d}-{_slug(entry.prompt_en)}"
        if boxes is not None:
            if entry.image_name not in cut or ratio not in cut[entry.image_name]:
                raise ValueError(f"{boxes}: it has no {ratio} box for {entry.image_name!r}")
            whole, box = picture, cut[entry.image_name][ratio]
            picture = out.parent / f"{out.stem}-images" / f"{name}.png"
            _crop(whole, box, picture, where)
        sha256 = checked_picture(picture, where)
        prompts.append(Prompt(name, entry.prompt_en, picture, sha256, LICENCE, entry.counted_for))
    write_suite(out, prompts)
    return len(prompts)


def _read(path: Path, kind: type[EntryT]) -> list[EntryT]:
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
        return [pydantic.TypeAdapter(kind).validate_python(entry) for entry in listed]
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is not VBench's list of {kind.__name__[1:]}: {error}") from error


def _crop(whole: Path, box: tuple[int, int, int, int], out: Path, where: str) -> None:
    left, top, width, height = box
    try:
        with Image.open(whole) as opened:
            if min(box) < 0 or left + width > opened.width or top + height > opened.height:
                raise ValueError(f"{where}: the box {box} is not inside of {whole}")
            part = opened.crop((left, top, left + width, top + height)).convert("RGB")
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{where}: picture {whole} cannot be read: {error}") from error
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as partial:
        part.save(partial, format="PNG")


def _slug(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:60].rstrip("-")
