"""What a server's reply to a chat completion says, read strictly from its bytes.

The client's own parsing takes what it can get; a caption needs to know whether the bytes were
UTF-8, whether the answer was finished, and, where the server tells, which request it belongs to.
"""

import dataclasses
import re
from collections.abc import Mapping

import pydantic

from curation.captioning.judging import NOT_UTF8

NO_COMPLETION = frozenset({"bad_answer", "other_clip"})
"""Reasons that say something of the server and nothing of the clip."""
_TAG = re.compile(r"tempo-[0-9a-f]+-[0-9]+")
_STOPPED: tuple[str | None, ...] = ("stop", "eos", "end_turn", None)


@dataclasses.dataclass(frozen=True, slots=True)
class Reply:
    """A reply, as far as captions care."""

    text: str
    complete: bool
    refused: bool
    prompt_tokens: int
    completion_tokens: int


class Unreadable(Exception):  # noqa: N818 - a verdict on a reply, turned into its reason at once
    """A reply that cannot be read, or that belongs to another request.

    Attributes:
        reason: ``not_utf8``, ``bad_answer`` or ``other_clip``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Message(pydantic.BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(pydantic.BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Usage(pydantic.BaseModel):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Completion(pydantic.BaseModel):
    id: str | None = None
    choices: list[_Choice] = pydantic.Field(min_length=1)
    usage: _Usage | None = None


def read_reply(body: bytes, headers: Mapping[str, str], tag: str, secret: str) -> Reply:
    """Read a reply.

    Args:
        body: the response's bytes.
        headers: the response's headers.
        tag: the request's ``X-Request-Id``. Servers that give it back, in the same header (most
            gateways, transformers) or within the reply's id (vLLM), are held to it.
        secret: the key; a reply that holds it is refused, so that it is never stored.

    Raises:
        Unreadable: not UTF-8, not a chat completion, or the reply to another request.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise Unreadable(NOT_UTF8) from None
    try:
        completion = _Completion.model_validate_json(text)
    except pydantic.ValidationError:
        raise Unreadable("bad_answer") from None
    for echo in (headers.get("x-request-id"), completion.id):
        belongs_to = _TAG.search(echo or "")
        if belongs_to and belongs_to.group() != tag:
            raise Unreadable("other_clip")
    choice, usage = completion.choices[0], completion.usage or _Usage()
    content = choice.message.content or ""
    if secret and secret in content:
        raise Unreadable("bad_answer")
    return Reply(
        text=content,
        complete=choice.finish_reason in _STOPPED,
        refused=bool(choice.message.refusal) or choice.finish_reason == "content_filter",
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
    )
