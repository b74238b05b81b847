"""Captions from a vision-language model in this process, by transformers.

Greedy decoding, so that a film's captions come out the same when they are made again; the second
try at a bad answer decodes greedily too, with a penalty on repetition. The trade-off: a server with
continuous batching captions several times faster; this needs no server.
"""

import copy
import io
from collections.abc import Sequence
from typing import Any

import torch
import transformers
from PIL import Image

from curation.captioning.asking import AskConfig, Question, question
from curation.captioning.judging import judged
from curation.captioning.local import LocalConfig, Weights
from curation.captioning.words import Answer, CaptionRequest

_SECOND_TRY = {"repetition_penalty": 1.15}


class LocalCaptioner:
    """Asks a model that is loaded here.

    Args:
        config: how to load it.
        ask: the question.
        weights: where it is.
    """

    name = "local"

    def __init__(self, config: LocalConfig, ask: AskConfig, weights: Weights) -> None:
        self.fingerprint = weights.fingerprint(config, ask)
        self._ask, self._source = ask, weights.name
        self._device = _device(config.device)
        library: Any = transformers  # much of it carries no annotations
        library.utils.logging.disable_progress_bar()  # the job draws its own
        self._processor = library.AutoProcessor.from_pretrained(
            weights.folder, local_files_only=True
        )
        # The answer follows the prompt directly, so shorter prompts are filled up on the left.
        self._processor.tokenizer.padding_side = "left"
        model = library.AutoModelForImageTextToText.from_pretrained(
            weights.folder,
            dtype=_dtype(config.dtype, self._device),
            use_safetensors=True,
            local_files_only=True,
        )
        self._model = model.to(self._device).eval()

    def caption(self, requests: Sequence[CaptionRequest]) -> list[Answer]:
        """Describe clips in one batch."""
        asked = [question(request, self._ask) for request in requests]
        verdicts = self._tried(asked, {})
        bad = [one for one in asked if one.pictures and verdicts[one.clip_id][0] is None]
        verdicts |= self._tried(bad, _SECOND_TRY)
        return [
            Answer(one.clip_id, self.name, self.fingerprint, *verdicts[one.clip_id], self._source)
            for one in asked
        ]

    def _tried(
        self, asked: list[Question], options: dict[str, Any]
    ) -> dict[str, tuple[str | None, str | None]]:
        """Caption or reason for each clip."""
        verdicts: dict[str, tuple[str | None, str | None]] = {
            one.clip_id: (None, "no_evidence") for one in asked
        }
        shown = [one for one in asked if one.pictures]
        if shown:
            for one, (text, complete) in zip(shown, self._said(shown, options), strict=True):
                verdicts[one.clip_id] = judged(text, complete=complete)
        return verdicts

    @torch.inference_mode()
    def _said(self, asked: list[Question], options: dict[str, Any]) -> list[tuple[str, bool]]:
        """The model's words for each question, and whether it had finished."""
        inputs = self._processor.apply_chat_template(
            [_conversation(one) for one in asked],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
        ).to(self._device)
        generation = copy.deepcopy(self._model.generation_config)
        generation.update(
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
            max_new_tokens=self._ask.answer_tokens,
            **options,
        )
        sequences = self._model.generate(**inputs, generation_config=generation)
        answers = sequences[:, inputs["input_ids"].shape[1] :]
        ends = torch.tensor(generation.eos_token_id, device=answers.device).reshape(-1)
        finished = torch.isin(answers, ends).any(dim=1).tolist()
        texts = self._processor.batch_decode(answers, skip_special_tokens=True)
        return list(zip(texts, finished, strict=True))


def _conversation(asked: Question) -> list[dict[str, Any]]:
    pictures = [
        {"type": "image", "image": Image.open(io.BytesIO(jpeg)).convert("RGB")}
        for jpeg in asked.pictures
    ]
    return [{"role": "user", "content": [*pictures, {"type": "text", "text": asked.text}]}]


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def _dtype(name: str, device: torch.device) -> torch.dtype:
    if name == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    dtype: torch.dtype = getattr(torch, name)
    return dtype
