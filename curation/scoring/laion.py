"""LAION's aesthetic score: a CLIP image embedding and a linear head, one number about 1 to 10.

The predictor of LAION-Aesthetics V1 (github.com/LAION-AI/aesthetic-predictor): the image embedding
of CLIP ViT-L/14, at length 1, times the weights of a linear layer that was fitted to people's
ratings of pictures. Pictures are prepared by the model's own preprocessing, which looks at the
square in their middle: what stands at the sides of a wide film is not judged.

Numbers are those of one device and precision: a GPU in half precision moves a score by about 0.01,
so both are part of the fingerprint (`pipelines.steps.score`).
"""

import contextlib
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import open_clip
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torch import nn

from curation.errors import CurationError
from curation.scoring.frames import U8, Judged, tells_something
from curation.scoring.laion_files import LaionModel


class LaionScorer:
    """Judges pictures by CLIP and the linear head; keeps the embeddings.

    Args:
        model: its files.
        device: 'cpu' or 'cuda'.
        precision: of the backbone: 'fp32', 'bf16' or 'fp16'. The head is always fp32.

    Raises:
        CurationError: a file does not hold what it should, or does not fit the others.
    """

    def __init__(self, model: LaionModel, device: str, precision: str) -> None:
        self._device = torch.device(device)
        self._visual, self._prepare = _load_backbone(model, device, precision)
        self._dtype = open_clip.get_input_dtype(precision) or torch.float32
        self._head = _load_head(model.head.path, device)
        if self._head.in_features != self._visual.output_dim:
            raise CurationError(
                f"score.head: {model.head.path} weighs {self._head.in_features} numbers, and "
                f"{model.model} gives {self._visual.output_dim}; name the head of this backbone"
            )

    @torch.inference_mode()
    def judge(self, pictures: list[U8]) -> Judged:
        """See `curation.scoring.frames.Scorer.judge`."""
        with _one_thread():
            batch = torch.stack([self._prepare(_rgb(picture)) for picture in pictures])
            features = self._visual(batch.to(self._device, self._dtype)).float()
            embeddings = nn.functional.normalize(features, dim=-1)
            scores = self._head(embeddings)[:, 0]
        return Judged(
            scores=scores.cpu().numpy(),
            telling=np.array([tells_something(picture) for picture in pictures], np.bool_),
            embeddings=embeddings.cpu().numpy(),
        )


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Sums on a CPU change in their last digits with the number of threads that share them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _rgb(picture: U8) -> Image.Image:
    return Image.fromarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))


def _load_backbone(
    model: LaionModel, device: str, precision: str
) -> tuple[nn.Module, Callable[[Image.Image], torch.Tensor]]:
    """The image tower and its preprocessing; the text tower is let go."""
    name = model.model
    if Path(name).is_file():
        open_clip.add_model_config(name)
        name = Path(name).stem
    try:
        clip = open_clip.create_model(
            name,
            pretrained=str(model.backbone.path),
            precision=precision,
            device=device,
            force_preprocess_cfg=model.preprocess,
            require_pretrained=True,
        )
    except pickle.UnpicklingError as error:
        raise CurationError(
            f"score.backbone: {model.backbone.path} does not hold weights alone; it is not loaded, "
            "since it could run code (a TorchScript archive does: fetch the safetensors instead)"
        ) from error
    except (RuntimeError, OSError, ValueError, KeyError) as error:
        raise CurationError(
            f"score.backbone: {model.backbone.path} does not hold weights of {name} ({error})"
        ) from error
    prepare = image_transform_v2(PreprocessCfg(**clip.visual.preprocess_cfg), is_train=False)
    visual: nn.Module = clip.visual.eval()
    return visual, prepare


def _load_head(path: Path | None, device: str) -> nn.Linear:
    assert path is not None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        outputs, inputs = state["weight"].shape
        head = nn.Linear(inputs, outputs)
        head.load_state_dict(state)
    except pickle.UnpicklingError as error:  # what it says of itself advises to run the file
        raise CurationError(
            f"score.head: {path} does not hold weights alone; it is not loaded, since it could run "
            "code"
        ) from error
    except (RuntimeError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CurationError(
            f"score.head: {path} does not hold a linear layer's weight and bias ({error})"
        ) from error
    return head.to(device).eval().requires_grad_(False)
