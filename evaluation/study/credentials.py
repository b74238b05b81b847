"""Secrets of a study, and what is signed with them: invitation links, plays, the owner's session.

One file, readable by its owner alone, holds a signing key and the owner's token. A signature says
that a link is ours; whether it is still good (last edition, not expired, not taken by another
browser) is asked of the database, so that a link can be voided.
"""

import contextlib
import dataclasses
import hmac
import json
import os
import secrets
from pathlib import Path

from itsdangerous import BadSignature, URLSafeSerializer, URLSafeTimedSerializer

OWNER_HOURS = 12
_LEAST = 32


@dataclasses.dataclass(frozen=True, slots=True)
class Play:
    """A video that a rater has begun to watch."""

    rater: str
    task: int
    slot: int
    began: float
    """The server's clock."""


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """Signs and checks.

    Attributes:
        key: signs; who has it can forge everything.
        owner_token: opens the results.
    """

    key: str
    owner_token: str

    def __post_init__(self) -> None:
        if min(len(self.key), len(self.owner_token)) < _LEAST:
            raise ValueError(f"secrets: key and owner_token have at least {_LEAST} characters")

    def invitation(self, rater: str, edition: int) -> str:
        """What stands in an invitation link."""
        return _text(self._signer("invitation").dumps([rater, edition]))

    def read_invitation(self, token: str) -> tuple[str, int] | None:
        """Rater and edition, or None when we did not sign it."""
        with contextlib.suppress(BadSignature):
            rater, edition = self._signer("invitation").loads(token)
            return rater, edition
        return None

    def play(self, play: Play) -> str:
        """What a browser gets when a video begins, and brings back when it is over."""
        return _text(self._signer("play").dumps([play.rater, play.task, play.slot, play.began]))

    def read_play(self, token: str) -> Play | None:
        """The play, or None when we did not sign it."""
        with contextlib.suppress(BadSignature):
            return Play(*self._signer("play").loads(token))
        return None

    def form_token(self, browser: str) -> str:
        """What a page of ours sends with each request, and a page of others cannot know."""
        return hmac.new(self.key.encode(), b"form:" + browser.encode(), "sha256").hexdigest()

    def is_form_token(self, token: str, browser: str) -> bool:
        """Whether a request comes from a page that we gave to this browser."""
        return hmac.compare_digest(token.encode(), self.form_token(browser).encode())

    def is_owner(self, token: str) -> bool:
        """Whether it is the owner's token."""
        return hmac.compare_digest(token.encode(), self.owner_token.encode())

    def owner_session(self) -> str:
        """The owner's cookie; it does not hold the token."""
        return _text(self._owner().dumps("owner"))

    def is_owner_session(self, cookie: str) -> bool:
        """Whether a cookie is the owner's, and fresh."""
        with contextlib.suppress(BadSignature):
            return bool(self._owner().loads(cookie, max_age=OWNER_HOURS * 3600) == "owner")
        return False

    def _owner(self) -> URLSafeTimedSerializer:
        # A new token ends the sessions of the old one.
        return URLSafeTimedSerializer(self.key, salt=f"tempo.study.owner.{self.owner_token}")

    def _signer(self, use: str) -> URLSafeSerializer:
        return URLSafeSerializer(self.key, salt=f"tempo.study.{use}")


def make_credentials(folder: Path) -> Path:
    """Write new secrets; secrets that are there stay.

    Returns:
        The file.
    """
    path = folder / "secrets.json"
    content = {"key": secrets.token_urlsafe(48), "owner_token": secrets.token_urlsafe(32)}
    with contextlib.suppress(FileExistsError):
        # Readable by nobody else from the first moment on.
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=2)
    return path


def load_credentials(folder: Path) -> Credentials:
    """Read the secrets of a study.

    Raises:
        ValueError: they are missing, damaged, or readable by others.
    """
    path = folder / "secrets.json"
    if not path.is_file():
        raise ValueError(f"{path}: missing; links and sessions are signed with it, restore it")
    if path.stat().st_mode & 0o077:
        raise ValueError(f"{path}: other users of this machine can reach it; chmod 600 it")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Credentials(content["key"], content["owner_token"])
    except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not the secrets of a study ({error!r})") from error


def _text(signed: str | bytes) -> str:
    return signed if isinstance(signed, str) else signed.decode()
