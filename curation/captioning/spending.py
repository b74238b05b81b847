"""What a run may spend on a server, counted where the requests leave.

Requests are counted in the HTTP client, below the retries, so the cap on them is exact. Tokens are
known only when an answer is there: a request under way is reckoned with the tokens that the largest
request so far has used, so the cap can be overshot by no more than what the first few requests use.
"""

import dataclasses
import threading
from typing import Any

import httpx

from curation.captioning.replies import Reply

_BUDGET_HEADER = "x-tempo-budget"


@dataclasses.dataclass(frozen=True, slots=True)
class Spent:
    """What a run has spent on a server."""

    requests: int = 0
    """HTTP requests, failed ones and retries included."""
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def tokens(self) -> int:
        """Prompts and answers together."""
        return self.prompt_tokens + self.completion_tokens


class Meter:
    """Counts requests and tokens against their caps; threads share it.

    Args:
        max_requests: None for any number.
        max_tokens: None for any number.
        answer_tokens: what an answer may hold at most: what a request is reckoned with at first.
    """

    def __init__(
        self, max_requests: int | None, max_tokens: int | None, answer_tokens: int
    ) -> None:
        self._max_requests, self._max_tokens = max_requests, max_tokens
        self._lock = threading.Lock()
        self._spent = Spent()
        self._under_way = 0
        self._largest = answer_tokens
        self._closed = False

    @property
    def spent(self) -> Spent:
        """The present state."""
        with self._lock:
            return self._spent

    @property
    def exhausted(self) -> bool:
        """True when another request would go beyond a cap."""
        with self._lock:
            return not (self._a_request_is_left() and self._tokens_are_left(under_way=0))

    def close(self) -> None:
        """Let no further request pass."""
        with self._lock:
            self._closed = True

    def reserve(self) -> bool:
        """Begin a question, if the tokens allow it; `settle` must follow."""
        with self._lock:
            if not self._tokens_are_left(self._under_way):
                return False
            self._under_way += 1
            return True

    def settle(self, reply: Reply | None) -> None:
        """A question is over: count what its reply used."""
        with self._lock:
            self._under_way -= 1
            if reply is not None:
                self._largest = max(self._largest, reply.prompt_tokens + reply.completion_tokens)
                self._spent = dataclasses.replace(
                    self._spent,
                    prompt_tokens=self._spent.prompt_tokens + reply.prompt_tokens,
                    completion_tokens=self._spent.completion_tokens + reply.completion_tokens,
                )

    def take_request(self) -> bool:
        """Count one HTTP request, if there is one left."""
        with self._lock:
            if not self._a_request_is_left():
                return False
            self._spent = dataclasses.replace(self._spent, requests=self._spent.requests + 1)
            return True

    def _a_request_is_left(self) -> bool:
        within = self._max_requests is None or self._spent.requests < self._max_requests
        return within and not self._closed

    def _tokens_are_left(self, under_way: int) -> bool:
        expected = self._spent.tokens + (under_way + 1) * self._largest
        return self._max_tokens is None or expected <= self._max_tokens

    def refused(self, response: httpx.Response) -> bool:
        """True when it was the meter, and not the server, that said no."""
        return _BUDGET_HEADER in response.headers


class MeteredClient(httpx.Client):
    """An HTTP client whose every request passes the meter; beyond the cap nothing is sent.

    Takes what `httpx.Client` takes, after the meter.
    """

    def __init__(self, meter: Meter, **options: Any) -> None:  # noqa: ANN401 - httpx.Client's own
        super().__init__(**options)
        self._meter = meter

    def send(self, request: httpx.Request, **options: Any) -> httpx.Response:  # noqa: ANN401 - as above
        """Send, or answer in the server's stead, so that the client does not try again."""
        if not self._meter.take_request():
            headers = {_BUDGET_HEADER: "exhausted", "x-should-retry": "false"}
            return httpx.Response(402, headers=headers, request=request)
        return super().send(request, **options)
