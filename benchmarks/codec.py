"""What the DCT codec loses on real films, and where its frozen normalisation comes from.

Reads every film of a folder, scales a few clips to a shorter side of 240 pixels, and prints the
round trip's PSNR beside that of a smaller, slower picture of about as many values (12 for each
16), then mean and deviation of each channel beside the frozen ones.

    python -m benchmarks.codec FOLDER
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from curation.errors import FilmError
from curation.video.conform import conform
from curation.video.film import Film
from model.dct import DctCodec, Layout, standard_layout

_STARTS = (20, 120, 280, 500)
_FRAMES = 17
_SHORT_SIDE = 240


def clips(path: Path) -> Iterator[Tensor]:
    """Clips [1,3,17,H,W] in [-1,1], wherever the film is long enough for one."""
    film = Film(path)
    width, height = film.info.display_size(film.info.whole)
    scale = _SHORT_SIDE / min(width, height)
    size = tuple(round(side * scale / 16) * 16 for side in (width, height))
    pictures: list[np.ndarray] = []
    for frame in film.frames(threads=1):
        if frame.index >= _STARTS[-1] + _FRAMES:
            break
        if any(start <= frame.index < start + _FRAMES for start in _STARTS):
            upright = (width // 2 * 2, height // 2 * 2)
            picture = conform(frame, film.info, film.info.whole, upright).to_ndarray(format="rgb24")
            pictures.append(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
    for start in range(0, len(pictures) - _FRAMES + 1, _FRAMES):
        clip = torch.from_numpy(np.stack(pictures[start : start + _FRAMES]))
        yield clip.permute(3, 0, 1, 2)[None].float() / 127.5 - 1


def psnr(seen: Tensor, true: Tensor) -> float:
    """Decibels, for a range of 2."""
    return float(10 * torch.log10(4 / (seen - true).square().mean()))


def small_picture(video: Tensor) -> Tensor:
    """The peer: means of 4 x 4 x 4 pixels, blown up again; 12 values for each 4 x 8 x 8 block."""
    rest = functional.interpolate(video, scale_factor=(0.25, 0.25, 0.25), mode="area")
    return functional.interpolate(rest, size=video.shape[2:], mode="trilinear")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    torch.set_num_threads(1)
    frozen = standard_layout()
    count = len(frozen.coefficients)
    codec, raw = DctCodec(), DctCodec(Layout(frozen.coefficients, (0.0,) * count, (1.0,) * count))
    means, squares, quality = [], [], []
    print(f"{'film':34}{'clips':>6}{'DCT':>8}{'first':>8}{'peer':>8}   dB")
    for path in sorted(folder.iterdir()):
        if path.name.startswith("derived") or path.suffix == ".json":
            continue
        try:
            videos = list(clips(path))
        except FilmError as error:
            print(f"{path.name:34}left out: {error}")
            continue
        if not videos:
            continue
        video = torch.cat(videos)
        decoded = codec.decode(codec.encode(video))
        row = (
            psnr(decoded, video),
            psnr(decoded[:, :, :1], video[:, :, :1]),
            psnr(small_picture(video), video),
        )
        quality.append(row)
        print(f"{path.name:34}{len(videos):6}" + "".join(f"{value:8.2f}" for value in row))
        latents = raw.encode(video)[:, :, 1:].double().transpose(0, 1).flatten(1)
        means.append(latents.mean(1))
        squares.append(latents.square().mean(1))
    print(f"{'mean':40}" + "".join(f"{value:8.2f}" for value in np.mean(quality, axis=0)))
    mean = torch.stack(means).mean(0)
    std = (torch.stack(squares).mean(0) - mean.square()).sqrt()
    print("\n(colour, time, row, column)   mean  frozen      std  frozen")
    for k, coefficient in enumerate(frozen.coefficients):
        print(
            f"{tuple(coefficient)!s:24}{mean[k]:10.4f}{frozen.mean[k]:8.4f}"
            f"{std[k]:9.4f}{frozen.std[k]:8.4f}"
        )


if __name__ == "__main__":
    main()
