"""Servers of the tests: real HTTP on localhost, from threads of this process.

`Witness` speaks OpenAI's chat completions and answers with words that encode the pictures it was
sent, so that a caption that stands at another clip can be told. `Proxy` stands in front of any
server and does to chosen requests what networks and servers do.
"""

import base64
import contextlib
import hashlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

WORDS = ("ash", "bay", "cod", "dew", "elm", "fog", "gem", "hay",
         "ink", "jug", "keg", "log", "mud", "nut", "oak", "pea")  # fmt: skip


def encoded(pictures: Sequence[bytes]) -> str:
    """Words that only these pictures in this order have."""
    digest = hashlib.sha256(b"".join(pictures)).hexdigest()[:16]
    return " ".join(WORDS[int(digit, 16)] for digit in digest)


def pictures_of(body: dict[str, Any]) -> list[bytes]:
    """The JPEGs of a chat completion's request."""
    (message,) = body["messages"]
    parts = [part for part in message["content"] if part["type"] == "image_url"]
    return [base64.b64decode(part["image_url"]["url"].partition(",")[2]) for part in parts]


def completion(text: str | None, finish: str = "stop", **fields: Any) -> dict[str, Any]:
    """A chat completion."""
    message = {"role": "assistant", "content": text}
    return {
        "id": "chat",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 20},
    } | fields


class _Quiet(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Say nothing."""

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", "0")))

    def reply(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextlib.contextmanager
def _served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that went away is part of the tests."""

    server = Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Witness:
    """A server that answers with what it saw.

    Args:
        answer: makes the reply of a request's body; its default encodes the pictures.
        delay: seconds before the reply to the nth request.
        fields: added to each completion.
    """

    def __init__(
        self,
        answer: Callable[[dict[str, Any]], dict[str, Any] | bytes] | None = None,
        delay: Callable[[int], float] = lambda _: 0.0,
    ) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        self._answer = answer or (lambda body: completion(encoded(pictures_of(body))))
        self._delay = delay

    @contextlib.contextmanager
    def serving(self) -> Iterator[str]:
        """Serve; yields the base address."""
        witness = self

        class Handler(_Quiet):
            def do_POST(self) -> None:
                body = json.loads(self.body())
                number = witness._arrived(body, dict(self.headers))
                time.sleep(witness._delay(number))
                answer = witness._answer(body)
                witness._leaves()
                data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.reply(200, data, X_Request_Id=self.headers.get("X-Request-Id", ""))

        with _served(Handler) as address:
            yield f"{address}/v1"

    def _arrived(self, body: dict[str, Any], headers: dict[str, str]) -> int:
        with self._lock:
            self.bodies.append(body)
            self.headers.append(headers)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            return len(self.bodies)

    def _leaves(self) -> None:
        with self._lock:
            self._at_once -= 1


Fault = Callable[[BaseHTTPRequestHandler], bool]
"""Does something to a request; True when that was all the reply there is."""


def status(code: int, **headers: str) -> Fault:
    """Reply with this status."""

    def fault(handler: BaseHTTPRequestHandler) -> bool:
        assert isinstance(handler, _Quiet)
        handler.reply(code, b'{"error": {"message": "by the proxy"}}', **headers)
        return True

    return fault


def raw(body: bytes, length: int | None = None) -> Fault:
    """Reply 200 with these bytes; with a length that is not theirs, the body is cut off."""

    def fault(handler: BaseHTTPRequestHandler) -> bool:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(length or len(body)))
        handler.end_headers()
        handler.wfile.write(body)
        handler.close_connection = True
        return True

    return fault


def drop(handler: BaseHTTPRequestHandler) -> bool:
    """Close the connection without a word."""
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)
    return True


def wait(seconds: float) -> Fault:
    """Let the request through, later."""

    def fault(_: BaseHTTPRequestHandler) -> bool:
        time.sleep(seconds)
        return False

    return fault


class Proxy:
    """Forwards requests to a server, but for those that a fault is planned for.

    Args:
        target: the server's base address, with its path.
        faults: by the number of the request, from 1.
    """

    def __init__(self, target: str, faults: dict[int, Fault]) -> None:
        self.count = 0
        self.forwarded = 0
        self._target = urlsplit(target)
        self._faults = faults
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def serving(self) -> Iterator[str]:
        """Serve; yields the base address."""
        proxy = self

        class Handler(_Quiet):
            def do_POST(self) -> None:
                body = self.body()
                with proxy._lock:
                    proxy.count += 1
                    fault = proxy._faults.get(proxy.count)
                if fault is None or not fault(self):
                    with proxy._lock:
                        proxy.forwarded += 1
                    proxy._forward(self, body)

        with _served(Handler) as address:
            yield address + self._target.path

    def _forward(self, handler: _Quiet, body: bytes) -> None:
        connection = http.client.HTTPConnection(self._target.netloc, timeout=60)
        try:
            headers = {
                name: value
                for name, value in handler.headers.items()
                if name.lower() not in ("host", "connection", "accept-encoding")
            }
            connection.request("POST", handler.path, body, headers)
            response = connection.getresponse()
            echo = response.headers.get("X-Request-Id", "")
            handler.reply(response.status, response.read(), X_Request_Id=echo)
        finally:
            connection.close()
