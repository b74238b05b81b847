"""Pictures and films that a user gives to a generation, and pictures of what came out.

Given frames are brought to the video's size by filling it: scaled until both sides are covered, and
cut evenly. They are tensors within [-1,1], for 8 bits are left only at the very end.
"""

import collections
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw, ImageOps
from torch import Tensor

from curation.unfinished import replacing
from curation.video.film import Film
from curation.video.playback import played, rgb_of

U8 = npt.NDArray[np.uint8]
_COLUMNS, _THUMBNAIL = 6, 240


def load_picture(path: Path, width: int, height: int) -> Tensor:
    """A picture file as float32 `[3,H,W]` in [-1,1], right side up.

    16 bits of grey are scaled to 8. What is transparent shows black, as a film that fades out does.

    Raises:
        ValueError: there is no such file, or it is no picture that can be read, or its numbers have
            no known range (32 bits, whole or real).
    """
    try:
        with Image.open(path) as opened:
            upright = _opaque(_eight_bits(ImageOps.exif_transpose(opened), opened.format))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"picture {path} cannot be read: {error}") from error
    fitted = ImageOps.fit(upright, (width, height), Image.Resampling.LANCZOS)
    return to_tensor(np.asarray(fitted)[None])[:, 0]


def _eight_bits(picture: Image.Image, kind: str | None) -> Image.Image:
    """The same with 8 bits a channel; Pillow's own conversion cuts 16 bits off at 255.

    Args:
        picture: as opened.
        kind: of its file; a PPM's greys of more than 8 bits come scaled to 16, and marked as 32.
    """
    if picture.mode.startswith("I;16") or (picture.mode == "I" and kind == "PPM"):
        wide = np.asarray(picture).astype(np.uint32)
        return Image.fromarray(((wide + 128) // 257).astype(np.uint8))
    if picture.mode in ("I", "F"):
        raise ValueError(
            "its numbers have 32 bits, and what is white is not told; save it with 8 or 16 bits"
        )
    return picture


def _opaque(picture: Image.Image) -> Image.Image:
    """As RGB, over black where it is transparent."""
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    black = Image.new("RGBA", picture.size, (0, 0, 0, 255))
    return Image.alpha_composite(black, picture.convert("RGBA")).convert("RGB")


def last_frames(film: Film, width: int, height: int, count: int) -> tuple[Tensor, int]:
    """The last `count` frames at 24 fps `[3,n,H,W]`, and how many the film has.

    Raises:
        FilmError: the film cannot be read.
    """
    colour = film.info.colour
    total, kept = 0, collections.deque[U8](maxlen=count)
    for frame in played(film, width, height):
        kept.append(rgb_of(frame, colour))
        total += 1
    return to_tensor(np.stack(kept)), total


def to_tensor(frames: U8) -> Tensor:
    """`[n,H,W,3]` of 8 bits to float32 `[3,n,H,W]` in [-1,1]."""
    scaled = torch.from_numpy(frames.copy()).permute(3, 0, 1, 2).float()
    return (scaled / 127.5 - 1.0).contiguous()


def to_pictures(frames: Tensor) -> Iterator[U8]:
    """`[3,n,H,W]` in [-1,1] to 8-bit pictures `[H,W,3]`."""
    for frame in frames.unbind(dim=1):
        scaled = ((frame + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)
        yield scaled.permute(1, 2, 0).numpy()


class ContactSheet:
    """A page of thumbnails, evenly spread over a video that is still being made.

    Args:
        frames: that the video will have.
        rate: frames per second.
    """

    def __init__(self, frames: int, rate: int) -> None:
        count = min(frames, 4 * _COLUMNS)
        places = np.linspace(0, frames - 1, count).round().astype(int).tolist()
        self._wanted = frozenset(places)
        self._rate = rate
        self._thumbnails: list[Image.Image] = []

    def show(self, index: int, picture: U8) -> None:
        """Look at a frame, and keep it if it is one of those."""
        if index not in self._wanted:
            return
        thumbnail = Image.fromarray(picture)
        thumbnail.thumbnail((_THUMBNAIL, _THUMBNAIL))
        ImageDraw.Draw(thumbnail).text(
            (4, 2), f"{index / self._rate:.2f} s", fill="white", stroke_fill="black", stroke_width=1
        )
        self._thumbnails.append(thumbnail)

    def save(self, path: Path) -> None:
        """Write the page as PNG."""
        page = _page(self._thumbnails)
        with replacing(path) as unfinished:
            page.save(unfinished, format="PNG")


def _page(thumbnails: Sequence[Image.Image]) -> Image.Image:
    width, height = thumbnails[0].size
    columns = min(_COLUMNS, len(thumbnails))
    page = Image.new("RGB", (columns * width, math.ceil(len(thumbnails) / columns) * height))
    for number, thumbnail in enumerate(thumbnails):
        page.paste(thumbnail, (number % columns * width, number // columns * height))
    return page
