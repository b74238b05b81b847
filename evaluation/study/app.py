"""The study's web application, assembled: pages of raters and owner, guards, errors in words."""

import logging
from urllib.parse import urlsplit

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from evaluation.errors import StudyError
from evaluation.study import owner_pages, rater_pages
from evaluation.study.desk import Desk, RefusedError
from evaluation.study.guards import Guards
from evaluation.study.pages import page
from evaluation.study.session import Room

_LOG = logging.getLogger(__name__)
_STRANGE = "The request is not one that this page sends."
_PROGRAMS = ("/api/", "/video/", "/static/")
"""What scripts and players ask for: they are answered in JSON."""


def create_app(desk: Desk, base_url: str) -> FastAPI:
    """The application.

    Args:
        desk: the rules.
        base_url: where browsers reach it, such as ``https://study.example.org``: its host is the
            only one that is answered to, and https makes cookies travel by https only.
    """
    address = urlsplit(base_url)
    secure = address.scheme == "https"
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.state.room = Room(desk, secure)
    app.include_router(rater_pages.router)
    app.include_router(owner_pages.router)
    _explain_errors(app)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[address.hostname or "localhost"])
    app.add_middleware(Guards, secure=secure)
    return app


def _explain_errors(app: FastAPI) -> None:
    """Errors become words for the person; none tells what the server is made of."""

    @app.exception_handler(RefusedError)
    def refused(request: Request, error: RefusedError) -> Response:
        return _words(request, error.status, error.words)

    @app.exception_handler(RequestValidationError)
    def misshapen(request: Request, _: RequestValidationError) -> Response:
        return _words(request, 422, _STRANGE)

    @app.exception_handler(HTTPException)
    def missing(request: Request, error: HTTPException) -> Response:
        words = "There is no such page." if error.status_code in (404, 405) else _STRANGE
        return _words(request, error.status_code, words)

    @app.exception_handler(StudyError)
    def unreachable(request: Request, error: StudyError) -> Response:
        _LOG.error("%s", error)
        return _words(request, 503, "The study cannot save just now. Please wait a moment.")


def _words(request: Request, status: int, words: str) -> Response:
    if request.url.path.startswith(_PROGRAMS):
        return JSONResponse({"error": words}, status)
    return HTMLResponse(page("message.html", title="Not here", words=words), status)
