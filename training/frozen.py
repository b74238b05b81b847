"""Codec and text encoder of a run, frozen: loaded alike by who trains and by who precomputes."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import torch

from model.codec import LatentCodec
from model.generator_folder import Loading, load_codec, load_text_encoder
from model.text import TextEncoder
from training.config import TrainConfig
from training.errors import CheckpointError


def frozen_codec(config: TrainConfig, device: torch.device) -> LatentCodec:
    """The codec, on its device.

    Raises:
        CheckpointError: its weights are not where the config says.
    """
    with _found("codec", config.codec.source):
        return load_codec(_folder(config), config.codec, _loading(config, device))


def frozen_text(config: TrainConfig, device: torch.device) -> TextEncoder:
    """The text encoder, on its device, in the dtype of the run. Raises as `frozen_codec` does."""
    with _found("text", config.text.source):
        return load_text_encoder(_folder(config), config.text, _loading(config, device))


@contextlib.contextmanager
def _found(field: str, source: str | None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"{field}.source = {source}: its weights cannot be loaded ({error}); name a folder or "
            "a name on the hub that has them"
        ) from error


def _loading(config: TrainConfig, device: torch.device) -> Loading:
    return Loading(device=str(device), dtype=config.engine.dtype)


def _folder(config: TrainConfig) -> Path:
    """Where weights are that the config names no source for."""
    return Path(config.network.init.source or ".")
