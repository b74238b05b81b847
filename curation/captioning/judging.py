"""Whether a model's answer can stand as a caption.

Models refuse, stop in the middle of a sentence, or say the same thing for ever, and each of these
would be learned from. The rules look at form only and err on the side of asking once more: what is
refused is asked a second time and then recorded with its reason.
"""

import re

from curation.captioning.words import clean

NOT_UTF8 = "not_utf8"
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_QUOTE = "['\N{RIGHT SINGLE QUOTATION MARK}]"
# A caption never begins with its author. Only the opening is looked at: "a sign reads: I'm sorry"
# is a caption.
_REFUSAL = re.compile(
    rf"(i{_QUOTE}m|i am|we are|we{_QUOTE}re)?\s*(very |so )?(sorry\b|afraid i\b)"
    rf"|(unfortunately,? )?(i|we) (can(not|{_QUOTE}t| not)|am (unable|not able)|apologi[sz]e)\b"
    rf"|(unfortunately,? )?i{_QUOTE}m (unable|not able)\b"
    r"|as an? (ai|artificial|language model|large language model)\b",
    re.IGNORECASE,
)
# A unit of up to 300 characters, four times in a row, over at least 40 characters.
_LOOP = re.compile(r"(\S.{0,299}?)\1{3,}", re.DOTALL)
_LOOP_CHARACTERS = 40


def judged(text: str, *, complete: bool, refused: bool = False) -> tuple[str | None, str | None]:
    """Judge an answer.

    Args:
        text: the model's words.
        complete: False when it stopped for want of room and not because it had finished.
        refused: True when the server itself says that it refused or filtered.

    Returns:
        The caption and None, or None and the reason: ``refused``, ``not_utf8`` (the server put
        replacement characters), ``empty``, ``repeated``, ``truncated``, ``too_long`` or
        ``reserved_tag``.
    """
    if refused:
        return None, "refused"
    if _REPLACEMENT in text:
        return None, NOT_UTF8
    caption, reason = clean(text)
    if caption is not None:
        reason = _fault(caption, complete)
    return (caption, None) if reason is None else (None, reason)


def _fault(caption: str, complete: bool) -> str | None:
    if _REFUSAL.match(caption):
        return "refused"
    if any(len(loop.group()) >= _LOOP_CHARACTERS for loop in _LOOP.finditer(caption)):
        return "repeated"
    return None if complete else "truncated"
