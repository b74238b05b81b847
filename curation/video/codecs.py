"""Which codecs the bundled FFmpeg has."""

from av.codec import Codec
from av.codec.codec import UnknownCodecError

_DECODERS = ("h264", "hevc", "av1", "vp8", "vp9", "mpeg4", "mpeg2video", "prores", "mjpeg")
_ENCODERS = ("libx264",)


def missing_decoders() -> list[str]:
    """Decoders of common films that this build lacks."""
    return [name for name in _DECODERS if not _has(name, "r")]


def missing_encoders() -> list[str]:
    """Encoders that packing needs and this build lacks."""
    return [name for name in _ENCODERS if not _has(name, "w")]


def _has(name: str, mode: str) -> bool:
    try:
        Codec(name, "w" if mode == "w" else "r")
    except UnknownCodecError:
        return False
    return True
