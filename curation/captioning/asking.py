"""What a model is asked about a clip: words, and frames sampled through it.

The frames are the scan's evidence, JPEGs of 288 lines every half second, handed on as they are
stored: nothing is decoded, and a served model and a local one see the same bytes. The trade-off:
what lasts less than the scan's cadence can stay unseen.
"""

import dataclasses
import string

from curation.captioning.words import CaptionRequest
from curation.traces import Traces

SHOT_PROMPT = """\
These $frames frames were taken at even distances from one continuous shot of $seconds seconds, \
in the order of time. Describe the shot in one paragraph of plain English, 60 to 120 words, for \
somebody who has to film it again. Say, in this order: the subject, with what can be seen of its \
appearance; its action, and how it changes from the first frame to the last; the scene around it; \
the camera, that is the framing, the angle and any movement; the light and the colours. State only \
what can be seen. No title, no list, no markup, no mention of frames, and no opening such as "The \
video shows"."""
"""Subject, action, scene, camera, light: what TempoMaster's captions tell of a clip."""

_FIELDS = ("frames", "seconds")


@dataclasses.dataclass(frozen=True, slots=True)
class AskConfig:
    """The question that captioning models are asked.

    Attributes:
        prompt: template of the words; ``$frames`` and ``$seconds`` are filled in, ``$$`` is ``$``.
        prompt_version: raise it to have everything captioned anew by the same words.
        frames: pictures for each clip, fewer where the clip holds fewer evidence frames.
        answer_tokens: a longer answer counts as truncated; 120 words are about 170 tokens.
    """

    prompt: str = SHOT_PROMPT
    prompt_version: int = 1
    frames: int = 8
    answer_tokens: int = 320

    def __post_init__(self) -> None:
        template = string.Template(self.prompt)
        if not self.prompt.strip() or not template.is_valid():
            raise ValueError("caption.ask.prompt: give words; a dollar sign is written $$")
        unknown = set(template.get_identifiers()).difference(_FIELDS)
        if unknown:
            raise ValueError(
                f"caption.ask.prompt holds ${min(unknown)}: there are $frames and $seconds"
            )
        for name in ("frames", "answer_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"caption.ask.{name} = {getattr(self, name)}: give at least 1")


@dataclasses.dataclass(frozen=True, slots=True)
class Question:
    """What a model is shown and asked about one clip."""

    clip_id: str
    text: str
    pictures: list[bytes]
    """JPEGs in the order of time; none where the clip holds no evidence frame."""


def question(request: CaptionRequest, config: AskConfig) -> Question:
    """Put the question about one clip. Reads its evidence frames."""
    clip = request.clip
    evidence = Traces(request.traces).evidence(clip.start_frame, clip.end_frame)
    chosen = spread(evidence.num_rows, config.frames)
    pictures = evidence["jpeg"].take(chosen).to_pylist() if chosen else []
    text = string.Template(config.prompt).substitute(
        frames=len(pictures), seconds=f"{clip.seconds:.1f}"
    )
    return Question(clip.clip_id, text, pictures)


def spread(available: int, wanted: int) -> list[int]:
    """Positions of `wanted` of `available` things: the middles of as many equal parts."""
    count = min(available, wanted)
    return [(2 * part + 1) * available // (2 * count) for part in range(count)]
