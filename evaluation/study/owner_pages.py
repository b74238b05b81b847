"""What the owner sees in a browser: who has come how far, and the report so far.

Only the token of `secrets.json` opens it, by the form or as ``Authorization: Bearer``. Nothing here
can be changed: links are issued on the command line, where the secrets are.
"""

import datetime as dt
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse

from evaluation.study.credentials import OWNER_HOURS
from evaluation.study.desk import RefusedError
from evaluation.study.pages import page
from evaluation.study.session import InRoom, Room

if TYPE_CHECKING:  # statistics take seconds to load, and raters need none
    from evaluation.study.results import Results

_BEARER = "Bearer "
router = APIRouter()


def is_owner(request: Request, room: InRoom) -> bool:
    """Whether the request brings the owner's token or session."""
    credentials = room.desk.credentials
    header = request.headers.get("authorization", "")
    if header.startswith(_BEARER):
        return credentials.is_owner(header.removeprefix(_BEARER))
    return credentials.is_owner_session(request.cookies.get(room.owner_cookie, ""))


AsOwner = Annotated[bool, Depends(is_owner)]


def only_owner(owner: AsOwner) -> None:
    """Let the owner pass.

    Raises:
        RefusedError: somebody else asks.
    """
    if not owner:
        raise RefusedError(401, "This page is the owner's.")


@router.get("/owner")
def overview(room: InRoom, owner: AsOwner) -> HTMLResponse:
    """How far raters are; to others, the form for the token."""
    if not owner:
        return HTMLResponse(page("login.html"), 401)
    return HTMLResponse(page("owner.html", study=room.desk.study, raters=_raters(room)))


@router.post("/owner")
def enter(room: InRoom, token: Annotated[str, Form()] = "") -> Response:
    """Take the token, give a session."""
    credentials = room.desk.credentials
    if not credentials.is_owner(token.strip()):
        return HTMLResponse(page("login.html"), 401)
    entered = RedirectResponse("/owner", 303)
    entered.set_cookie(
        room.owner_cookie, credentials.owner_session(), max_age=OWNER_HOURS * 3600, httponly=True,
        secure=room.secure, samesite="strict", path="/",
    )  # fmt: skip
    return entered


@router.get("/owner/report", dependencies=[Depends(only_owner)])
def report(room: InRoom) -> HTMLResponse:
    """The report so far."""
    from evaluation.study.report import render_html

    # The page brings its own policy; this part of one counts in a header only.
    headers = {"content-security-policy": "frame-ancestors 'none'"}
    return HTMLResponse(render_html(_results(room)), headers=headers)


@router.get("/owner/results.json", dependencies=[Depends(only_owner)])
def results(room: InRoom) -> JSONResponse:
    """The same numbers."""
    return JSONResponse(_results(room).json())


def _results(room: Room) -> "Results":
    from evaluation.study.results import collect

    return collect(room.desk.study, room.desk.store)


def _raters(room: Room) -> list[dict[str, object]]:
    desk = room.desk
    return [
        {
            "name": rater.rater,
            "answered": rater.answered,
            "total": None if rater.place is None else len(desk.deal(rater.place)),
            "until": dt.datetime.fromtimestamp(rater.expires_at, dt.UTC).date().isoformat(),
            "expired": rater.expires_at <= desk.clock(),
        }
        for rater in desk.store.raters()
    ]
