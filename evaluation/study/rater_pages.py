"""What raters see and send.

A URL names a task by its number in the rater's own list (`/video/17/0`): there is no id that could
be compared with another rater's, guessed, or followed out of a folder. Everything is decided in
`desk`; here are cookies, forms and headers. The price of doing without a session store is a
database question or two for each request.
"""

import secrets
from typing import Annotated, Any

import pydantic
from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse

from evaluation.study.desk import Desk, RefusedError
from evaluation.study.document import Mode
from evaluation.study.pages import STATIC, page, static
from evaluation.study.session import ActingRater, InRoom, Rater, Room
from evaluation.study.storage import browser_hash

COOKIE_DAYS = 60
_ANSWER_SECONDS = 15
router = APIRouter()


class Begin(pydantic.BaseModel, extra="forbid", strict=True):
    """A video begins."""

    task: int = pydantic.Field(ge=0)
    slot: int = pydantic.Field(ge=0, le=1)


class Over(pydantic.BaseModel, extra="forbid", strict=True):
    """A video is over."""

    play: str = pydantic.Field(max_length=500)


class Said(pydantic.BaseModel, extra="forbid", strict=True):
    """An answer."""

    task: int = pydantic.Field(ge=0)
    scores: dict[str, int] = pydantic.Field(max_length=20)


@router.get("/")
def front() -> HTMLResponse:
    """Say nothing to those who were not invited."""
    words = "This study is open to those who were sent a link to it."
    return HTMLResponse(page("message.html", title="By invitation", words=words))


@router.get("/join/{token}")
def welcome(request: Request, room: InRoom, token: str) -> Response:
    """What the study asks and stores. Only the button takes the link: mail programs follow it."""
    invited, desk = _invited(room.desk, token), room.desk
    browser = request.cookies.get(room.rater_cookie) or secrets.token_urlsafe(32)
    if desk.store.holder(browser_hash(browser)) == invited:
        return RedirectResponse("/rate", 303)
    shown = HTMLResponse(
        page(
            "join.html",
            study=desk.study,
            pairwise=desk.study.mode is Mode.PAIRWISE,
            minutes=_minutes(desk),
            token=token,
            form_token=desk.credentials.form_token(browser),
        )
    )
    _remember(shown, room, browser)
    return shown


@router.post("/join/{token}")
def join(
    request: Request, room: InRoom, token: str, form_token: Annotated[str, Form()] = ""
) -> Response:
    """Bind the link to this browser, and begin."""
    invited = _invited(room.desk, token)
    browser = request.cookies.get(room.rater_cookie)
    if browser is None or not room.desk.credentials.is_form_token(form_token, browser):
        raise RefusedError(
            403, "The study needs its cookie to keep your place. Please allow it and try again."
        )
    if room.desk.store.holder(browser_hash(browser)) not in (None, invited):
        browser = secrets.token_urlsafe(32)  # a second rater at this browser is somebody else
    if not room.desk.store.accept(*invited, browser_hash(browser)):
        raise RefusedError(
            409, "This link has been used in another browser. Go on there, or ask for a new link."
        )
    begun = RedirectResponse("/rate", 303)
    _remember(begun, room, browser)
    return begun


@router.get("/rate")
def rate(room: InRoom, session: Rater) -> HTMLResponse:
    """The page on which everything is rated; its script asks for the tasks."""
    study = room.desk.study
    return HTMLResponse(
        page(
            "rate.html",
            study=study,
            pairwise=study.mode is Mode.PAIRWISE,
            form_token=room.desk.credentials.form_token(session.browser),
            # Keeps drafts of several raters of one browser apart, and tells nothing.
            drawer=browser_hash(f"drawer {session.browser}")[:16],
        )
    )


@router.get("/api/task")
def task(room: InRoom, session: Rater) -> dict[str, Any]:
    """What is to be done now."""
    return room.desk.next_task(session.rater)


@router.post("/api/play")
def play(room: InRoom, session: ActingRater, begin: Begin) -> dict[str, Any]:
    """A video begins."""
    return {"play": room.desk.begin_play(session.rater, begin.task, begin.slot)}


@router.post("/api/played")
def played(room: InRoom, session: ActingRater, over: Over) -> dict[str, Any]:
    """A video is over."""
    room.desk.finish_play(session.rater, over.play)
    return {}


@router.post("/api/answer")
def answer(room: InRoom, session: ActingRater, said: Said) -> dict[str, Any]:
    """An answer."""
    return {"note": room.desk.answer(session.rater, said.task, said.scores)}


@router.api_route("/video/{task}/{slot}", methods=["GET", "HEAD"])
def video(room: InRoom, session: Rater, task: int, slot: int) -> FileResponse:
    """A video, or a range of it."""
    # The same file shown twice must look like two files, in its headers too.
    mark = browser_hash(f"{session.browser}/{task}/{slot}")[:32]
    headers = {
        "etag": f'"{mark}"',
        "last-modified": "Thu, 01 Jan 2026 00:00:00 GMT",
        "cache-control": "private, max-age=86400",
    }
    path = room.desk.video(session.rater, task, slot)
    return FileResponse(path, headers=headers, media_type="video/mp4")


@router.get("/static/{name}")
def files(name: str) -> Response:
    """Styles, scripts and the icon."""
    if name not in STATIC:
        raise RefusedError(404, "There is no such page.")
    return Response(static(name), media_type=STATIC[name], headers={"cache-control": "no-cache"})


def _remember(answer: Response, room: Room, browser: str) -> None:
    """Give the browser its secret. `Lax`: a link in a mail must find the rater again."""
    answer.set_cookie(
        room.rater_cookie, browser, max_age=COOKIE_DAYS * 86400, httponly=True, secure=room.secure,
        samesite="lax", path="/",
    )  # fmt: skip


def _invited(desk: Desk, token: str) -> tuple[str, int]:
    invited = desk.credentials.read_invitation(token)
    if invited is None:
        raise RefusedError(403, "This link is not complete. Please copy all of it.")
    if not desk.store.is_open(*invited, desk.clock()):
        raise RefusedError(410, "This link is no longer valid. Please ask for a new one.")
    return invited


def _minutes(desk: Desk) -> int:
    """About how long a rater needs: every video once, and a quarter of a minute to answer."""
    tasks = desk.deal(0)
    playing = sum(desk.study.seconds(clip) for task in tasks for clip in task.clips)
    return max(1, round((playing + _ANSWER_SECONDS * len(tasks)) / 60))
