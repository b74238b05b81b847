"""Colours: what is measured and what is packed must look as FFmpeg and the standards have it."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.errors import FilmError
from curation.pictures import cut_picture, evidence_pictures, sample_luma
from curation.video.colour import ColourSpace
from curation.video.conform import conform
from curation.video.encode import EncodeSettings, FilmWriter
from curation.video.film import Film
from tests.curation.video.media import U8, ffmpeg, ffmpeg_frames, shown

# ITU-R BT.601, BT.709 and BT.2020: weights of red and blue in luma.
WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}
BARS = ("-f", "lavfi", "-i", "smptebars=size=168x120:rate=5:duration=0.6")
EXACT_PALETTE = "split[a][b];[a]palettegen[p];[b][p]paletteuse=dither=none"
EXACTLY = ("-sws_flags", "accurate_rnd+full_chroma_int+bicubic")
CODINGS = {
    "10bit.mp4": ("-c:v", "libx265", "-x265-params", "log-level=none", "-pix_fmt", "yuv420p10le"),
    "422.mp4": ("-c:v", "libx264", "-pix_fmt", "yuv422p"),
    "422_10bit.mov": ("-c:v", "prores_ks", "-pix_fmt", "yuv422p10le"),
    "444.mp4": ("-c:v", "libx264", "-pix_fmt", "yuv444p"),
    "440.mkv": ("-c:v", "ffv1", "-pix_fmt", "yuv440p"),
    "411.mkv": ("-c:v", "ffv1", "-pix_fmt", "yuv411p"),
    "full.mp4": ("-c:v", "libx264", "-pix_fmt", "yuvj420p"),
    "full.avi": ("-c:v", "mjpeg", "-pix_fmt", "yuvj422p", "-q:v", "2"),
    "gray.mkv": ("-c:v", "ffv1", "-pix_fmt", "gray"),
    "gray_10bit.mkv": ("-c:v", "ffv1", "-pix_fmt", "gray10le"),
    "rgb.mkv": ("-c:v", "ffv1", "-pix_fmt", "bgr0"),
    "rgb.mp4": ("-c:v", "libx264rgb", "-pix_fmt", "rgb24"),
    "rgba.mov": ("-c:v", "png", "-pix_fmt", "rgba"),
    "rgb_topdown.avi": ("-c:v", "rawvideo", "-pix_fmt", "bgr24"),
    "palette.gif": ("-vf", EXACT_PALETTE, "-c:v", "gif"),
    "animated.apng": ("-c:v", "apng", "-pix_fmt", "rgb24"),
    "packed.avi": ("-c:v", "rawvideo", "-pix_fmt", "uyvy422"),
    "semiplanar.nut": ("-c:v", "rawvideo", "-pix_fmt", "nv12"),
}


def patches(rgb: U8) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Mean colours [7, 3] of the seven upper bars, taken well inside them."""
    height, width = rgb.shape[:2]
    bar = width / 7
    return np.array(
        [
            rgb[height // 8 : height // 2, round((n + 0.3) * bar) : round((n + 0.7) * bar)].mean(
                axis=(0, 1)
            )
            for n in range(7)
        ]
    )


def tag_container(
    source: Path, target: Path, *, matrix: str, transfer: str, primaries: str
) -> None:
    """Copy an untagged stream into an MP4 whose header names its colours."""
    tags = ("-colorspace", matrix, "-color_trc", transfer, "-color_primaries", primaries)
    ffmpeg("-i", source, "-c", "copy", *tags, "-movflags", "write_colr", target)


@given(
    st.sampled_from(sorted(WEIGHTS)),
    st.booleans(),
    st.tuples(*[st.floats(0, 1, allow_subnormal=False)] * 3),
)
def test_the_matrix_undoes_the_standards_definition(
    matrix: str, full: bool, rgb: tuple[float, float, float]
) -> None:
    kr, kb = WEIGHTS[matrix]
    red, green, blue = rgb
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    chroma = (blue - luma) / (2 * (1 - kb)), (red - luma) / (2 * (1 - kr))
    if full:
        coded = [255 * luma, *(128 + 255 * c for c in chroma), 1.0]
    else:
        coded = [16 + 219 * luma, *(128 + 224 * c for c in chroma), 1.0]
    back = ColourSpace(matrix, full).to_bgr() @ np.array(coded)
    assert back[::-1].tolist() == pytest.approx([255 * c for c in rgb], abs=1e-6)


def test_luma_is_stretched_to_full_range() -> None:
    limited = ColourSpace("bt709", full_range=False).luma_table()
    assert (limited[16], limited[235], limited[0], limited[255]) == (0, 255, 0, 255)
    assert limited[126] == round((126 - 16) * 255 / 219)
    assert ColourSpace("bt709", full_range=True).luma_table().tolist() == list(range(256))


@pytest.mark.parametrize("name", CODINGS)
def test_pictures_and_packed_samples_have_ffmpegs_colours(name: str, tmp_path: Path) -> None:
    source, packed = tmp_path / name, tmp_path / "packed.mp4"
    ffmpeg(*BARS, *CODINGS[name], source)
    expected = patches(ffmpeg_frames(source, *EXACTLY, width=168, height=120)[0])
    film = Film(source)
    info, whole = film.info, film.info.whole
    settings = EncodeSettings(crf=4)
    with FilmWriter(packed, 168, 120, settings=settings, colour=info.colour) as writer:
        for frame in film.frames(threads=1):
            evidence = patches(evidence_pictures(frame, info, whole, 120)[0][..., ::-1])
            cut = patches(cut_picture(frame, info, whole, 168)[..., ::-1])
            assert np.abs(evidence - expected).max() < 2.5, name
            assert np.abs(cut - expected).max() < 2.5, name
            writer.write(conform(frame, info, whole, (168, 120)))
    assert writer.frames == 3
    repeated = patches(ffmpeg_frames(packed, *EXACTLY, width=168, height=120)[0])
    assert np.abs(repeated - expected).max() < 3.5


def test_luma_of_limited_and_full_range_films_agrees(tmp_path: Path) -> None:
    lumas = []
    for pixels in ("yuv420p", "yuvj420p"):
        source = tmp_path / f"{pixels}.mp4"
        ffmpeg(*BARS, "-c:v", "libx264", "-crf", "1", "-pix_fmt", pixels, source)
        film = Film(source)
        assert film.info.colour.full_range == (pixels == "yuvj420p")
        frame = next(film.frames(threads=1))
        lumas.append(sample_luma(frame, film.info, film.info.whole, 120).astype(int))
    assert np.abs(lumas[0] - lumas[1]).max() <= 2


@pytest.mark.parametrize(
    ("size", "matrix"),
    [
        ("704x576", "bt601"),
        ("640x360", "bt601"),
        ("1280x720", "bt709"),
        ("1280x544", "bt709"),  # HD without its letterbox is HD
        ("720x1280", "bt709"),
    ],
)
def test_untagged_films_are_taken_as_players_take_them(
    size: str, matrix: str, tmp_path: Path
) -> None:
    source = tmp_path / "red.mp4"
    convert = f"color=0xc83c1e:size={size}:rate=5:duration=0.4,format=gbrp"
    to_yuv = f"scale=out_color_matrix={matrix}:out_range=tv,format=yuv420p"
    ffmpeg("-f", "lavfi", "-i", f"{convert},{to_yuv}", "-c:v", "libx264", source)
    # ffmpeg's filter tags what it made; take the tags away again
    bare = tmp_path / "bare.mp4"
    blank = "h264_metadata=colour_primaries=2:transfer_characteristics=2:matrix_coefficients=2"
    ffmpeg("-i", source, "-c", "copy", "-bsf:v", blank, "-movflags", "-write_colr", bare)
    film = Film(bare)
    assert film.info.colour == ColourSpace(matrix, full_range=False)
    assert np.abs(shown(film).mean(axis=(0, 1)) - [200, 60, 30]).max() < 3


def test_tags_of_the_container_count_where_the_stream_has_none(tmp_path: Path) -> None:
    plain, tagged = tmp_path / "plain.mp4", tmp_path / "tagged.mp4"
    hevc = ("-c:v", "libx265", "-x265-params", "log-level=none", "-pix_fmt", "yuv420p")
    ffmpeg(*BARS, *hevc, plain)
    tag_container(plain, tagged, matrix="bt709", transfer="bt709", primaries="bt709")
    assert Film(plain).info.colour.matrix == "bt601"
    assert Film(tagged).info.colour.matrix == "bt709"


@pytest.mark.parametrize("curve", ["smpte2084", "arib-std-b67"])
@pytest.mark.parametrize("place", ["stream", "container"])
def test_hdr_is_refused(curve: str, place: str, tmp_path: Path) -> None:
    source = tmp_path / "hdr.mp4"
    tags = f"colorprim=bt2020:transfer={curve}:colormatrix=bt2020nc"
    inside = f":{tags}" if place == "stream" else ""
    coding = ("-c:v", "libx265", "-pix_fmt", "yuv420p10le")
    ffmpeg(*BARS, *coding, "-x265-params", f"log-level=none{inside}", source)
    if place == "container":
        assert Film(source).info.pixel_format == "yuv420p10le"
        plain = source.rename(tmp_path / "plain.mp4")
        tag_container(plain, source, matrix="bt2020nc", transfer=curve, primaries="bt2020")
    with pytest.raises(FilmError) as caught:
        Film(source)
    assert caught.value.reason == "hdr_unsupported"
    assert not caught.value.transient


def test_colours_survive_writing_and_reading(tmp_path: Path) -> None:
    target = tmp_path / "orange.mp4"
    for matrix in WEIGHTS:
        colour = ColourSpace(matrix, full_range=False)
        with FilmWriter(target, 64, 48, fps=Fraction(24), colour=colour) as writer:
            for _ in range(3):
                writer.write_rgb(np.broadcast_to(np.array([200, 60, 30], np.uint8), (48, 64, 3)))
        film = Film(target)
        assert film.info.colour == colour
        assert np.abs(shown(film).mean(axis=(0, 1)) - [200, 60, 30]).max() < 3
