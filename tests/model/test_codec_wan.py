"""Wan's autoencoder behind the protocol, against stock diffusers on tiny random weights."""

from pathlib import Path

import pytest
import torch
from diffusers.video_processor import VideoProcessor

from benchmarks.codec import LiveBytes, memory_of
from model.codec import Geometry, WanCodec
from tests.model.tiny_wan import tiny_vae


@pytest.fixture(scope="module")
def codec() -> WanCodec:
    return WanCodec(tiny_vae())


@pytest.fixture
def video() -> torch.Tensor:
    return torch.rand(2, 3, 9, 16, 24, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_latents_are_the_normalised_mode(codec: WanCodec, video: torch.Tensor) -> None:
    vae = tiny_vae()
    with torch.no_grad():
        mode = vae.encode(video).latent_dist.mode()
    mean, std = (
        torch.tensor(vae.config[name]).view(1, 16, 1, 1, 1)
        for name in ("latents_mean", "latents_std")
    )
    torch.testing.assert_close(codec.encode(video), (mode - mean) / std)
    assert codec.encode(video).shape == codec.geometry.latent_shape(video) == (2, 16, 3, 2, 3)


def test_decoding_undoes_the_normalisation(codec: WanCodec, video: torch.Tensor) -> None:
    vae = tiny_vae()
    with torch.no_grad():
        direct = vae.decode(vae.encode(video).latent_dist.mode()).sample
    decoded = codec.decode(codec.encode(video))
    torch.testing.assert_close(decoded, direct, rtol=1e-4, atol=1e-5)
    assert decoded.shape == video.shape
    assert VideoProcessor().postprocess_video(decoded).shape == (2, 9, 16, 24, 3)


def test_later_frames_never_change_earlier_latents(codec: WanCodec, video: torch.Tensor) -> None:
    whole = codec.encode(video)
    torch.testing.assert_close(codec.encode(video[:, :, :5]), whole[:, :, :2])
    changed = video.clone()
    changed[:, :, 5:] = -changed[:, :, 5:]
    torch.testing.assert_close(codec.encode(changed)[:, :, :2], whole[:, :, :2])


def test_earlier_frames_decode_without_later_latents(codec: WanCodec, video: torch.Tensor) -> None:
    latents = codec.encode(video)
    torch.testing.assert_close(codec.decode(latents[:, :, :2]), codec.decode(latents)[:, :, :5])


def test_slicing_changes_nothing(codec: WanCodec, video: torch.Tensor) -> None:
    whole = WanCodec(tiny_vae(), slicing=False)
    torch.testing.assert_close(whole.encode(video), codec.encode(video))
    assert whole.fingerprint == codec.fingerprint


def test_tiling_keeps_the_geometry_and_has_a_fingerprint_of_its_own(codec: WanCodec) -> None:
    tiled = WanCodec(tiny_vae(), tiling=True)
    video = torch.rand(1, 3, 5, 264, 16, generator=torch.Generator().manual_seed(2)) * 2 - 1
    latents = tiled.encode(video)
    assert latents.shape == codec.encode(video).shape
    assert tiled.decode(latents).shape == video.shape
    assert tiled.fingerprint != codec.fingerprint


def test_it_loads_from_a_folder(codec: WanCodec, video: torch.Tensor, tmp_path: Path) -> None:
    codec.vae.save_pretrained(tmp_path / "vae")
    loaded = WanCodec.load(tmp_path)
    torch.testing.assert_close(loaded.encode(video), codec.encode(video), rtol=0, atol=0)
    assert loaded.fingerprint == codec.fingerprint
    assert WanCodec.load(tmp_path / "vae", subfolder=None).fingerprint == codec.fingerprint


def test_other_weights_and_other_dtypes_have_other_fingerprints(codec: WanCodec) -> None:
    half = WanCodec(tiny_vae().to(torch.bfloat16))
    assert len({codec.fingerprint, half.fingerprint, WanCodec(tiny_vae(1)).fingerprint}) == 3
    video = torch.zeros(1, 3, 1, 8, 8)
    assert half.decode(half.encode(video)).dtype == torch.float32


@pytest.mark.parametrize("frames", [0, 2, 3, 4, 16, 120])
def test_a_clip_that_is_not_4n_plus_1_is_refused_not_cut(codec: WanCodec, frames: int) -> None:
    with pytest.raises(ValueError, match="4n"):
        codec.encode(torch.zeros(1, 3, frames, 8, 8))


def test_sizes_and_shapes_that_do_not_fit_are_refused(codec: WanCodec) -> None:
    with pytest.raises(ValueError, match="multiples of 8; crop or scale to 8 x 16"):
        codec.encode(torch.zeros(1, 3, 5, 12, 16))
    with pytest.raises(ValueError, match=r"\[B,3,F,H,W\]"):
        codec.encode(torch.zeros(3, 5, 8, 8))
    with pytest.raises(ValueError, match=r"\[B,16,T,h,w\]"):
        codec.decode(torch.zeros(1, 4, 2, 2, 2))


def test_lengths_and_latents_answer_each_other() -> None:
    geometry = Geometry()
    assert [geometry.latent_frames(f) for f in (1, 5, 121, 481)] == [1, 2, 31, 121]
    assert [geometry.frames(t) for t in (1, 2, 31, 121)] == [1, 5, 121, 481]


def test_memory_grows_with_the_clip_alone(codec: WanCodec) -> None:
    """Not with what the network makes of it: that is many times as much, for a few frames."""
    short, long = (
        memory_of(codec.encode, codec.decode, torch.zeros(1, 3, frames, 16, 24))
        for frames in (17, 65)
    )
    longer = long.clip - short.clip
    assert long.encode - short.encode < 2 * longer
    assert long.decode - short.decode < 3 * longer


def test_live_bytes_are_those_that_are_held() -> None:
    with LiveBytes() as counted:
        held = torch.zeros(1000)
        for _ in range(5):
            torch.ones(500)  # given back at once
        held.add_(1).view(10, 100)  # no bytes of their own
    assert counted.peak == 4 * 1500
