"""Who a request comes from: a rater's browser by its cookie, and whether a page of ours sent it."""

import dataclasses
from typing import Annotated

from fastapi import Depends, Request

from evaluation.study.desk import Desk, RefusedError
from evaluation.study.storage import browser_hash


@dataclasses.dataclass(frozen=True)
class Room:
    """What every page needs.

    Attributes:
        desk: the rules.
        secure: pages come by https.
    """

    desk: Desk
    secure: bool

    @property
    def rater_cookie(self) -> str:
        """Holds the browser's secret; `__Host-` pins it to this host and to https."""
        return "__Host-tempo-rater" if self.secure else "tempo-rater"

    @property
    def owner_cookie(self) -> str:
        """Holds the owner's session."""
        return "__Host-tempo-owner" if self.secure else "tempo-owner"


@dataclasses.dataclass(frozen=True, slots=True)
class Session:
    """A rater at their browser."""

    rater: str
    browser: str


def room_of(request: Request) -> Room:
    """The application's room."""
    room = request.app.state.room
    assert isinstance(room, Room)
    return room


InRoom = Annotated[Room, Depends(room_of)]


def rater_session(request: Request, room: InRoom) -> Session:
    """The rater whose browser asks, as long as their link is good.

    Raises:
        RefusedError: nobody whom we know.
    """
    browser = request.cookies.get(room.rater_cookie)
    holder = room.desk.store.holder(browser_hash(browser)) if browser else None
    if browser is None or holder is None:
        raise RefusedError(401, "Please open your invitation link again.")
    if not room.desk.store.is_open(*holder, room.desk.clock()):
        raise RefusedError(401, "Your invitation is over. Please ask for a new link.")
    return Session(holder[0], browser)


Rater = Annotated[Session, Depends(rater_session)]


def acting_session(request: Request, room: InRoom, session: Rater) -> Session:
    """A session whose request comes from a page that we gave to this browser.

    Raises:
        RefusedError: it does not.
    """
    sent = request.headers.get("x-form-token", "")
    if not room.desk.credentials.is_form_token(sent, session.browser):
        raise RefusedError(403, "Please reload the page.")
    return session


ActingRater = Annotated[Session, Depends(acting_session)]
