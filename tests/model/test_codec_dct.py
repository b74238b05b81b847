"""The weights-free codec: its transform against SciPy's, and what makes it a stand-in for Wan's."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.fft
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.codec import WanCodec
from model.dct import (
    Coefficient,
    DctCodec,
    Layout,
    complete_layout,
    dct_matrix,
    standard_layout,
)
from tests.model.tiny_wan import tiny_vae


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def psnr(seen: torch.Tensor, true: torch.Tensor) -> float:
    return float(10 * torch.log10(4 / (seen - true).square().mean()))


@pytest.mark.parametrize("size", [3, 4, 8])
def test_each_axis_is_orthonormal_and_scipys(size: int) -> None:
    matrix = dct_matrix(size)
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(size, dtype=torch.float64))
    theirs = scipy.fft.dct(np.eye(size), axis=0, norm="ortho")
    np.testing.assert_allclose(matrix.numpy(), theirs, atol=1e-12)


def test_a_block_of_four_frames_is_scipys_transform() -> None:
    video = noise(1, 3, 5, 8, 8)
    latents = DctCodec(complete_layout()).encode(video)[0, :, 1, 0, 0]
    theirs = scipy.fft.dctn(video[0, :, 1:].numpy(), norm="ortho")
    np.testing.assert_allclose(latents.numpy(), theirs.reshape(-1), atol=1e-5)


def test_the_first_latent_is_twice_the_pictures_transform() -> None:
    video = noise(1, 3, 1, 8, 8)
    latents = DctCodec(complete_layout()).encode(video)[0, :, 0, 0, 0].reshape(3, 4, 8, 8)
    theirs = scipy.fft.dctn(video[0, :, 0].numpy(), norm="ortho")
    np.testing.assert_allclose(latents[:, 0].numpy(), 2 * theirs, atol=1e-5)
    np.testing.assert_allclose(latents[:, 1:].numpy(), 0, atol=1e-5)


def test_a_still_picture_has_the_same_latent_everywhere() -> None:
    video = noise(1, 3, 1, 16, 16).expand(-1, -1, 9, -1, -1)
    latents = DctCodec().encode(video)
    torch.testing.assert_close(latents[:, :, 1], latents[:, :, 0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(latents[:, :, 2], latents[:, :, 1])


def test_energy_is_kept() -> None:
    video = noise(1, 3, 9, 16, 8)
    latents = DctCodec(complete_layout()).encode(video)
    assert latents[:, :, 1:].square().sum() == pytest.approx(
        video[:, :, 1:].square().sum().item(), rel=1e-5
    )


@given(st.integers(1, 2), st.integers(0, 4), st.integers(1, 4), st.integers(1, 4))
@settings(max_examples=15, deadline=None)
def test_with_all_coefficients_the_round_trip_is_exact(
    batch: int, groups: int, rows: int, columns: int
) -> None:
    video = noise(batch, 3, 1 + 4 * groups, 8 * rows, 8 * columns)
    codec = DctCodec(complete_layout())
    torch.testing.assert_close(codec.decode(codec.encode(video)), video, rtol=0, atol=1e-5)


def test_what_is_kept_comes_back_unchanged() -> None:
    latents = torch.randn(1, 16, 3, 2, 2, generator=torch.Generator().manual_seed(0)) * 0.01
    codec = DctCodec()
    latents[:, 11, 0] = (0.0 - codec.layout.mean[11]) / codec.layout.std[11]  # no time in a picture
    again = codec.encode(codec.decode(latents))
    torch.testing.assert_close(again, latents, rtol=1e-3, atol=1e-4)


def test_scaled_as_pixels_errors_of_latents_weigh_as_those_of_pixels() -> None:
    codec = DctCodec(standard_layout("pixels"))
    grey = codec.encode(torch.zeros(1, 3, 9, 16, 24))
    (factor,) = set(codec.layout.std)
    for channel in (0, 3, 11, 15):
        error = torch.zeros_like(grey)
        error[:, channel, 1:] = 0.02
        moved = codec.decode(grey + error) - codec.decode(grey)
        assert moved.square().sum() == pytest.approx(
            factor**2 * error.square().sum().item(), rel=1e-3
        )
    by_channels = DctCodec().encode(torch.zeros(1, 3, 9, 16, 24))
    restored = grey * factor / torch.tensor(DctCodec().layout.std).view(1, -1, 1, 1, 1)
    torch.testing.assert_close(restored, by_channels, rtol=1e-4, atol=1e-4)


@given(st.integers(0, 16))
@settings(max_examples=17, deadline=None)
def test_frame_k_changes_its_own_latent_and_none_before_it(frame: int) -> None:
    video = noise(1, 3, 17, 8, 8)
    changed = video.clone()
    changed[:, :, frame] = noise(1, 3, 8, 8, seed=1)
    codec = DctCodec()
    differs = (codec.encode(changed) != codec.encode(video)).any(dim=1).flatten()
    assert differs.nonzero().flatten().tolist() == [-(-frame // 4)]


@given(st.integers(0, 2), st.integers(1, 3), st.integers(1, 3))
@settings(max_examples=8, deadline=None)
def test_its_geometry_is_wans(groups: int, rows: int, columns: int) -> None:
    video = noise(1, 3, 1 + 4 * groups, 8 * rows, 8 * columns)
    wan, dct = WanCodec(tiny_vae()), DctCodec()
    assert wan.geometry == dct.geometry
    assert wan.encode(video).shape == dct.encode(video).shape == dct.geometry.latent_shape(video)
    assert wan.decode(wan.encode(video)).shape == dct.decode(dct.encode(video)).shape


@pytest.mark.parametrize("frames", [0, 2, 8, 120])
def test_a_clip_that_is_not_4n_plus_1_is_refused(frames: int) -> None:
    with pytest.raises(ValueError, match="4n"):
        DctCodec().encode(torch.zeros(1, 3, frames, 8, 8))


def test_pictures_stay_in_range() -> None:
    decoded = DctCodec().decode(torch.randn(1, 16, 3, 2, 2) * 5)
    assert decoded.min() >= -1
    assert decoded.max() <= 1


def test_fingerprints_tell_layouts_apart() -> None:
    other = Layout((Coefficient(0, 0, 0, 0),), (0.0,), (1.0,))
    assert DctCodec().fingerprint == DctCodec(standard_layout()).fingerprint
    assert len({DctCodec().fingerprint, DctCodec(other).fingerprint}) == 2
    with pytest.raises(ValueError, match="give each coefficient one mean"):
        Layout((Coefficient(0, 0, 0, 0),), (), (1.0,))
    with pytest.raises(ValueError, match="must be positive"):
        Layout((Coefficient(0, 0, 0, 0),), (0.0,), (0.0,))


@pytest.mark.parametrize("name", ["cosmos_sintel_30s.mp4", "dvr_traffic_camera.mp4"])
def test_real_films_can_be_recognised_and_have_latents_of_unit_size(
    films_dir: Path, name: str
) -> None:
    reader = cv2.VideoCapture(str(films_dir / name))
    pictures = []
    for _ in range(37):
        read, picture = reader.read()
        assert read
        pictures.append(cv2.resize(picture[..., ::-1], (416, 240), interpolation=cv2.INTER_AREA))
    reader.release()
    video = torch.from_numpy(np.stack(pictures[20:])).permute(3, 0, 1, 2)[None] / 127.5 - 1
    codec = DctCodec()
    latents = codec.encode(video)
    assert psnr(codec.decode(latents), video) >= 20
    assert 0.3 < latents[:, :, 1:].std() < 3
    assert latents[:, :, 1:].mean().abs() < 1
