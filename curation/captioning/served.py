"""Captions from a served model: any server that speaks OpenAI's chat completions (vLLM, SGLang, …).

Many requests are under way at once, from threads of this process, so that the limits on what runs
at a time and on what a run may spend hold for the whole run. The trade-off: served answers cannot
be repeated bit for bit, which is why they are made durable the moment they arrive (`keep`).

Retries with backoff and jitter on 408, 409, 429, 5xx, timeouts and broken connections, and the
server's ``Retry-After``, are the `openai` client's own.
"""

import base64
import concurrent.futures as futures
import dataclasses
import itertools
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

import openai
import pyarrow as pa

from curation.captioning.asking import AskConfig, Question, question
from curation.captioning.endpoint import EndpointConfig, is_local, key_for
from curation.captioning.judging import judged
from curation.captioning.replies import NO_COMPLETION, Reply, Unreadable, read_reply
from curation.captioning.spending import Meter, MeteredClient, Spent
from curation.captioning.words import Answer, CaptionRequest
from curation.errors import CaptionError, EndpointAwayError

_SECOND_TRY: dict[str, Any] = {"frequency_penalty": 0.3}
"""At temperature 0 the same question gets the same answer; this lets it differ."""
_HOPELESS = frozenset({401, 403, 404, 405, 410})
"""The server refuses every clip alike: a wrong key, address or model."""
_BUDGET = "budget_exhausted"


class EndpointCaptioner:
    """Asks a server about clips.

    Args:
        config: the server.
        ask: the question.

    Raises:
        ValueError: frames must not go there, or there is no key (`endpoint.key_for`).
    """

    name = "endpoint"

    def __init__(self, config: EndpointConfig, ask: AskConfig) -> None:
        self.fingerprint = config.fingerprint(ask)
        self._config, self._ask = config, ask
        self._key = key_for(config)
        self._meter = Meter(config.max_requests, config.max_tokens, ask.answer_tokens)
        self._source = f"{config.model} at {urlsplit(config.url).netloc}"

    @property
    def spent(self) -> Spent:
        """What has been asked and paid for so far."""
        return self._meter.spent

    def answers(
        self, requests: Iterable[CaptionRequest], keep: Callable[[Answer], None]
    ) -> Generator[Answer, None, None]:
        """Ask about clips, many at a time; answers come in the order in which they arrive.

        Closing it asks no more, and waits for what is under way.

        Args:
            requests: taken only as fast as they are asked.
            keep: called with each final answer in the thread that received it, before anything
                else happens: it makes the answer durable.

        Raises:
            CaptionError: the server refuses every request, or `give_up_after` clips in a row
                failed. What was under way then is finished and kept, but not yielded.
        """
        client = self._client()
        pool = futures.ThreadPoolExecutor(self._config.concurrency, "caption")

        def ask(request: CaptionRequest) -> Answer:
            answer = self._captioned(client, request)
            if answer.final:
                keep(answer)
            return answer

        failures = 0
        try:
            for answer in _as_they_come(pool, ask, requests, 2 * self._config.concurrency):
                yield answer
                failures = failures + 1 if _failed(answer) else 0
                if failures >= self._config.give_up_after:
                    raise EndpointAwayError(
                        f"captioner endpoint: {failures} clips in a row got no answer from "
                        f"{self._config.host} ({answer.reason}); see to the server and run again: "
                        "what has been answered is kept"
                    )
        finally:
            self._meter.close()  # nothing new is asked, and nothing asked again
            pool.shutdown(wait=True, cancel_futures=True)
            client.close()

    def _client(self) -> openai.OpenAI:
        client = openai.OpenAI(
            api_key=self._key or "none",
            base_url=self._config.url,
            max_retries=self._config.retries,
            http_client=MeteredClient(
                self._meter,
                # A redirect would carry frames to a host that nobody consented to,
                follow_redirects=False,
                # and a proxy from the environment is another machine, too.
                trust_env=not is_local(self._config.host),
                timeout=self._config.timeout_seconds,
            ),
        )
        # Taken from the environment by the client, and no business of other servers.
        client.organization = client.project = None
        return client

    def _captioned(self, client: openai.OpenAI, request: CaptionRequest) -> Answer:
        """In a thread: ask, and ask once more where the answer cannot stand."""
        clip_id = request.clip.clip_id
        if self._meter.exhausted:
            return self._none(clip_id, _BUDGET, final=False)
        try:
            asked = question(request, self._ask)
        except (OSError, pa.ArrowException):
            return self._none(clip_id, "no_traces", final=False)
        if not asked.pictures:
            return self._none(clip_id, "no_evidence")
        answer = self._asked(client, asked, 1)
        if answer.caption is None and (answer.final or answer.reason in NO_COMPLETION):
            answer = self._asked(client, asked, 2)
        assert answer.clip_id == clip_id  # no caption stands at another clip
        return answer

    def _asked(self, client: openai.OpenAI, asked: Question, attempt: int) -> Answer:
        clip_id, reply = asked.clip_id, None
        if not self._meter.reserve():
            return self._none(clip_id, _BUDGET, final=False)
        try:
            reply = self._reply(client, asked, attempt)
        except Unreadable as error:
            return self._none(clip_id, error.reason, final=error.reason not in NO_COMPLETION)
        except openai.APITimeoutError:
            return self._none(clip_id, "timeout", final=False)
        except openai.APIConnectionError:
            return self._none(clip_id, "unreachable", final=False)
        except openai.APIStatusError as error:
            return self._none(clip_id, self._refusal(error), final=False)
        finally:
            self._meter.settle(reply)
        caption, reason = judged(reply.text, complete=reply.complete, refused=reply.refused)
        return dataclasses.replace(self._none(clip_id, reason), caption=caption)

    def _reply(self, client: openai.OpenAI, asked: Question, attempt: int) -> Reply:
        """One question and its reply; the clip's id travels with it."""
        tag = f"tempo-{asked.clip_id}-{attempt}"
        options: dict[str, Any] = dict(_SECOND_TRY) if attempt > 1 else {}
        if self._config.temperature is not None:
            options["temperature"] = self._config.temperature
        response = client.chat.completions.with_raw_response.create(
            model=self._config.model,
            messages=[{"role": "user", "content": _content(asked)}],
            max_completion_tokens=self._ask.answer_tokens,
            extra_headers={"X-Request-Id": tag},
            **options,
        )
        return read_reply(response.content, response.headers, tag, self._key)

    def _refusal(self, error: openai.APIStatusError) -> str:
        """The reason that a status stands for.

        Raises:
            CaptionError: no clip will fare better.
        """
        status = error.status_code
        if self._meter.refused(error.response):
            return _BUDGET
        if status in _HOPELESS or 300 <= status < 400:
            # A server's words may hold what it was sent.
            said = error.message.replace(self._key, "***") if self._key else error.message
            raise CaptionError(
                f"captioner endpoint: {self._config.host} answers {status} ({said[:300]}); check "
                f"caption.endpoint.url, caption.endpoint.model and ${self._config.key_variable}, "
                "and run again: what has been answered is kept"
            ) from None
        return "rate_limited" if status == 429 else f"http_{status}"

    def _none(self, clip_id: str, reason: str | None, *, final: bool = True) -> Answer:
        return Answer(clip_id, self.name, self.fingerprint, None, reason, self._source, final)


def _content(asked: Question) -> Any:  # noqa: ANN401 - the client's own union of dictionaries
    pictures = [
        {
            "type": "image_url",
            "image_url": {"url": f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"},
        }
        for jpeg in asked.pictures
    ]
    return [*pictures, {"type": "text", "text": asked.text}]


def _failed(answer: Answer) -> bool:
    return not answer.final and answer.reason != _BUDGET


def _as_they_come(
    pool: futures.Executor,
    work: Callable[[CaptionRequest], Answer],
    requests: Iterable[CaptionRequest],
    window: int,
) -> Iterator[Answer]:
    """Map in threads, results in the order of completion; no more than `window` requests held."""
    source = iter(requests)
    running = {pool.submit(work, request) for request in itertools.islice(source, window)}
    while running:
        done, running = futures.wait(running, return_when=futures.FIRST_COMPLETED)
        for future in done:
            yield future.result()
        running |= {pool.submit(work, request) for request in itertools.islice(source, len(done))}
