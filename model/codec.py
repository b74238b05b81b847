"""Video to latents and back: one protocol, and Wan's autoencoder behind it.

Everything outside speaks of float32 videos `[B,3,F,H,W]` in [-1,1] and of normalised latents
`[B,C,1+(F-1)/4,H/8,W/8]`; which codec lies between is the recipe's choice, and no codec stands in
for another. Wrong sizes are refused: Wan's own code would drop the tail of a clip silently. The
weights-free codec is in `model.dct`.
"""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

import torch
from torch import Tensor, nn

from model.fingerprints import module_fingerprint

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan


@dataclasses.dataclass(frozen=True, slots=True)
class Geometry:
    """How many frames and pixels a latent stands for.

    The first latent holds the first frame alone, each later one `time` frames (causal).
    """

    time: int = 4
    space: int = 8
    channels: int = 16

    def latent_frames(self, frames: int) -> int:
        """Latent frames of a clip.

        Raises:
            ValueError: the length is not a multiple of `time` plus one.
        """
        if frames < 1 or frames % self.time != 1:
            fits = max(frames - 1, 0) // self.time * self.time + 1
            raise ValueError(
                f"frames={frames}: clips are 4n+1 frames long; cut it to {fits}, "
                f"or pad it to {fits + self.time}"
            )
        return 1 + (frames - 1) // self.time

    def frames(self, latent_frames: int) -> int:
        """Frames of a clip with so many latent frames."""
        return 1 + self.time * (latent_frames - 1)

    def latent_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the latents of a picture.

        Raises:
            ValueError: not multiples of `space`.
        """
        if min(height, width) < self.space or height % self.space or width % self.space:
            fits = " x ".join(
                str(max(side // self.space, 1) * self.space) for side in (height, width)
            )
            raise ValueError(
                f"height x width={height} x {width}: both must be multiples of {self.space}; "
                f"crop or scale to {fits}"
            )
        return height // self.space, width // self.space

    def latent_shape(self, video: Tensor) -> tuple[int, int, int, int, int]:
        """Shape of the latents of a video.

        Raises:
            ValueError: it is not `[B,3,F,H,W]` of a legal size.
        """
        if video.ndim != 5 or video.shape[1] != 3:
            raise ValueError(f"video of shape {tuple(video.shape)}: give [B,3,F,H,W], colours RGB")
        batch, _, frames, height, width = video.shape
        return batch, self.channels, self.latent_frames(frames), *self.latent_size(height, width)

    def check_latents(self, latents: Tensor) -> None:
        """Refuse what no video of this geometry has.

        Raises:
            ValueError: not `[B,channels,T,h,w]`.
        """
        if latents.ndim != 5 or latents.shape[1] != self.channels or 0 in latents.shape:
            raise ValueError(
                f"latents of shape {tuple(latents.shape)}: give [B,{self.channels},T,h,w]"
            )


class LatentCodec(Protocol):
    """Turns videos into normalised latents and back, causally and without randomness."""

    @property
    def geometry(self) -> Geometry:
        """Compression and channels."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes with anything that changes latents; stored latents are kept under it."""
        ...

    @property
    def resident(self) -> nn.Module | None:
        """The module that encodes and decodes where it stands; None where there is none."""
        ...

    def encode(self, video: Tensor) -> Tensor:
        """Encode `[B,3,F,H,W]` in [-1,1], F = 4n+1, to float32 `[B,C,T,H/8,W/8]`.

        Raises:
            ValueError: a size that the geometry does not have.
        """
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Decode `[B,C,T,h,w]` to float32 `[B,3,4T-3,8h,8w]` within [-1,1].

        Raises:
            ValueError: latents that the geometry does not have.
        """
        ...


class WanCodec:
    """Wan's causal VAE, run by diffusers.

    Latents are the posterior's mode, normalised per channel by the mean and deviation of the
    autoencoder's config, as Wan's pipelines do. Memory is bounded in time already upstream: the
    network sees 1 + 4 + 4 + … frames and carries its convolutions' last inputs along, which is
    exact; only the clip and its latents grow with length. Slicing bounds it in the batch, tiling in
    the picture; tiles are blended where they overlap, so tiling changes the values slightly.

    Args:
        vae: the autoencoder, on its device and in its dtype; float32 is what its makers use.
        slicing: run one clip of a batch at a time.
        tiling: run pictures larger than 256 x 256 in overlapping tiles.
    """

    def __init__(
        self, vae: "AutoencoderKLWan", *, slicing: bool = True, tiling: bool = False
    ) -> None:
        self.vae = vae.eval().requires_grad_(False)
        vae.use_slicing, vae.use_tiling = slicing, tiling
        config = vae.config
        self.geometry = Geometry(
            config["scale_factor_temporal"], config["scale_factor_spatial"], config["z_dim"]
        )
        self._mean, self._std = (
            torch.tensor(config[name]).view(1, -1, 1, 1, 1)
            for name in ("latents_mean", "latents_std")
        )
        # Tiles change the latents; slices do not.
        self.fingerprint = f"wan-vae:{module_fingerprint(vae)}{':tiled' if tiling else ''}"

    @classmethod
    def load(
        cls,
        source: str | Path,
        *,
        subfolder: str | None = "vae",
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        slicing: bool = True,
        tiling: bool = False,
    ) -> Self:
        """Load from a folder, or by its name on the hub, e.g. ``Wan-AI/Wan2.2-I2V-A14B-Diffusers``.

        Args:
            source: folder or name.
            subfolder: where the autoencoder is in it; None where it is `source` itself.
            dtype: of the computation.
            device: where it runs.
            slicing: see the class.
            tiling: see the class.
        """
        from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan

        vae = AutoencoderKLWan.from_pretrained(str(source), subfolder=subfolder, torch_dtype=dtype)
        return cls(vae.to(device), slicing=slicing, tiling=tiling)

    @property
    def resident(self) -> nn.Module | None:
        """See `LatentCodec.resident`."""
        return self.vae

    @torch.no_grad()
    def encode(self, video: Tensor) -> Tensor:
        """See `LatentCodec.encode`."""
        self.geometry.latent_shape(video)
        posterior = self.vae.encode(video.to(self.vae.device, self.vae.dtype)).latent_dist
        mode: Tensor = posterior.mode().float()
        # Multiplying by the reciprocal, not dividing: bit-equal to Wan's pipelines.
        mean, std = self._constants()
        return (mode - mean) * (1.0 / std)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """See `LatentCodec.decode`."""
        self.geometry.check_latents(latents)
        mean, std = self._constants()
        raw = latents.to(self.vae.device, torch.float32) / (1.0 / std) + mean
        video: Tensor = self.vae.decode(raw.to(self.vae.dtype)).sample
        return video.float()

    def _constants(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation, where the autoencoder stands now."""
        return self._mean.to(self.vae.device), self._std.to(self.vae.device)
