"""The endpoint captioner on real HTTP: who is asked, what it costs, whose words they are."""

import json
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from curation.captioning.asking import AskConfig
from curation.captioning.endpoint import EndpointConfig
from curation.captioning.served import EndpointCaptioner
from curation.captioning.spool import Spool, spooled, spools
from curation.captioning.words import Answer, CaptionRequest
from curation.errors import CaptionError
from tests.curation.captioning.clips import film, picture
from tests.curation.captioning.servers import (
    Fault,
    Proxy,
    Witness,
    completion,
    drop,
    encoded,
    pictures_of,
    raw,
    status,
    wait,
)

ASK = AskConfig(frames=2, answer_tokens=50)


def captioner(url: str, **fields: Any) -> EndpointCaptioner:
    return EndpointCaptioner(EndpointConfig(url=url, **{"concurrency": 8} | fields), ASK)


def answers(asked: EndpointCaptioner, requests: list[CaptionRequest]) -> dict[str, Answer]:
    """All answers by clip; every request has exactly one, and final ones were kept first."""
    kept: list[Answer] = []
    given = []
    for answer in asked.answers(requests, kept.append):
        assert not answer.final or answer in kept
        given.append(answer)
    assert sorted(answer.clip_id for answer in given) == sorted(
        request.clip.clip_id for request in requests
    )
    return {answer.clip_id: answer for answer in given}


def truth(request: CaptionRequest, name: str = "film", evidence: int = 3) -> str:
    """What the witness says of a clip, from the pictures that we made."""
    import zlib

    first = request.clip.start_frame // 12
    shown = [first, first + 2] if evidence == 3 else list(range(first, first + evidence))
    return encoded([picture(zlib.crc32(f"{name} {number}".encode())) for number in shown])


def test_no_caption_stands_at_another_clip(tmp_path: Path) -> None:
    """Many at once, answered late and out of order, through a proxy that breaks every third."""
    requests = film(tmp_path, 60)
    delays = (0.0, 0.15, 0.02, 0.07, 0.0, 0.11, 0.03)
    breaks: list[Fault] = [drop, status(500), status(429, Retry_After="0.1"), wait(0.3)]
    faults = {number: breaks[number // 3 % len(breaks)] for number in range(3, 60, 3)}
    witness = Witness(delay=lambda number: delays[number % len(delays)])
    with witness.serving() as target, Proxy(target, faults).serving() as url:
        said = answers(captioner(url), requests)
    assert {request.clip.clip_id: truth(request) for request in requests} == {
        clip_id: answer.caption for clip_id, answer in said.items()
    }
    assert 2 < witness.most_at_once <= 8
    assert len({answer.caption for answer in said.values()}) == 60


def test_request_carries_frames_prompt_and_clip(tmp_path: Path) -> None:
    (request,) = film(tmp_path, 1)
    witness = Witness()
    with witness.serving() as url:
        asked = captioner(url, model="house/model")
        (answer,) = answers(asked, [request]).values()
    (body,), (headers,) = witness.bodies, witness.headers
    assert answer.source == f"house/model at {url.split('/')[2]}"
    assert (body["model"], body["max_completion_tokens"], body["temperature"]) == (
        "house/model",
        50,
        0.0,
    )
    text = body["messages"][0]["content"][-1]["text"]
    assert "These 2 frames" in text
    assert "1.5 seconds" in text
    assert len(pictures_of(body)) == 2
    assert request.clip.clip_id in headers["X-Request-Id"]
    assert (asked.spent.requests, asked.spent.tokens) == (1, 120)


def test_reply_to_another_request_is_refused(tmp_path: Path) -> None:
    """A gateway that swaps replies is found out where the server gives the request's id back."""
    requests = film(tmp_path, 2)
    other = requests[1].clip.clip_id
    swapped = completion("words of another clip", id=f"chatcmpl-tempo-{other}-1")
    with Witness(lambda _: swapped).serving() as url:
        said = answers(captioner(url, concurrency=1), requests)
    assert said[requests[0].clip.clip_id].reason == "other_clip"
    assert said[other].caption == "words of another clip"


BAD: dict[str, dict[str, Any] | bytes] = {
    "empty": completion(" \n"),
    "refused": completion("I'm sorry, but I can't help with that."),
    "truncated": completion("A fox runs over the", finish="length"),
    "repeated": completion("a fox runs, " * 30),
    "reserved_tag": completion("a fox <Scene Cut> a hare"),
    "not_utf8": json.dumps(completion("a fox XX")).encode().replace(b"XX", b"\xff\xfe"),
}


@pytest.mark.parametrize("reason", BAD)
def test_bad_answer_is_asked_once_more_and_then_recorded(tmp_path: Path, reason: str) -> None:
    (request,) = film(tmp_path, 1)
    witness = Witness(lambda _: BAD[reason])
    with witness.serving() as url:
        (answer,) = answers(captioner(url), [request]).values()
    assert (answer.caption, answer.reason, answer.final) == (None, reason, True)
    assert [body.get("frequency_penalty") for body in witness.bodies] == [None, 0.3]


@pytest.mark.parametrize("reply", [b"<html>It works!</html>", b'{"choices": []}'])
def test_a_gateway_that_gives_no_completions_poisons_no_clip(tmp_path: Path, reply: bytes) -> None:
    """It answers 200 to everything: nothing of it may be stored, and the run must not go on."""
    requests = film(tmp_path, 6)
    kept: list[Answer] = []
    witness = Witness(lambda _: reply)
    with witness.serving() as url, pytest.raises(CaptionError, match="bad_answer"):
        list(captioner(url, concurrency=1, give_up_after=3).answers(requests, kept.append))
    assert kept == []
    assert 6 <= len(witness.bodies) < 12  # each clip twice, until three have failed


def test_second_answer_may_be_good(tmp_path: Path) -> None:
    (request,) = film(tmp_path, 1)
    replies = iter([completion("", finish="content_filter"), completion("a fox")])
    with Witness(lambda _: next(replies)).serving() as url:
        (answer,) = answers(captioner(url), [request]).values()
    assert answer.caption == "a fox"


def test_clip_without_evidence_is_not_asked_about(tmp_path: Path) -> None:
    (request,) = film(tmp_path, 1, evidence=0)
    witness = Witness()
    with witness.serving() as url:
        (answer,) = answers(captioner(url), [request]).values()
    assert (answer.reason, answer.final, witness.bodies) == ("no_evidence", True, [])


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (status(503), "http_503"),
        (status(400), "http_400"),
        (status(429, Retry_After="0.05"), "rate_limited"),
        (drop, "unreachable"),
        (raw(b'{"choices": [{"mess', length=4000), "unreachable"),
        (wait(1.5), "timeout"),
    ],
    ids=["503", "400", "429", "dropped", "cut off", "late"],
)
def test_failure_is_retried_and_costs_its_own_clip_only(
    tmp_path: Path, fault: Fault, reason: str
) -> None:
    requests = film(tmp_path, 3)
    # One clip after the other: the second is the one that fails, and fails for good.
    tries = 1 if reason == "http_400" else 2
    faults = dict.fromkeys(range(2, 2 + tries), fault)
    with Witness().serving() as target:
        proxy = Proxy(target, faults)
        with proxy.serving() as url:
            asked = captioner(url, concurrency=1, retries=1, timeout_seconds=1.0)
            said = answers(asked, requests)
    first, second, third = (said[request.clip.clip_id] for request in requests)
    assert (second.caption, second.reason, second.final) == (None, reason, False)
    assert (first.caption, third.caption) == (truth(requests[0]), truth(requests[2]))
    assert proxy.count == asked.spent.requests == 2 + tries


def test_retry_after_is_kept_to(tmp_path: Path) -> None:
    (request,) = film(tmp_path, 1)
    arrived: list[float] = []

    def note(handler: Any) -> bool:
        arrived.append(time.monotonic())
        return len(arrived) == 1 and status(429, Retry_After="1.2")(handler)

    with Witness().serving() as target, Proxy(target, {1: note, 2: note}).serving() as url:
        (answer,) = answers(captioner(url), [request]).values()
    assert answer.caption == truth(request)
    assert arrived[1] - arrived[0] >= 1.2  # by itself the client would wait for at most 0.5 s


def test_cap_on_requests_is_exact(tmp_path: Path) -> None:
    requests = film(tmp_path, 12)
    with Witness().serving() as target:
        proxy = Proxy(target, {1: drop, 2: status(500)})
        with proxy.serving() as url:
            asked = captioner(url, max_requests=6)
            said = answers(asked, requests)
    assert proxy.count == asked.spent.requests == 6
    reasons = [answer.reason for answer in said.values() if answer.caption is None]
    assert reasons == ["budget_exhausted"] * 8
    assert not any(answer.final for answer in said.values() if answer.caption is None)


def test_cap_on_tokens(tmp_path: Path) -> None:
    requests = film(tmp_path, 12)
    with Witness().serving() as url:
        asked = captioner(url, max_tokens=600, concurrency=2)
        said = answers(asked, requests)
    assert asked.spent.tokens == 600
    assert sum(answer.caption is not None for answer in said.values()) == 5


def test_wrong_key_ends_the_run_and_keeps_what_is_there(tmp_path: Path) -> None:
    requests = film(tmp_path, 30)
    with Witness().serving() as target:
        proxy = Proxy(target, dict.fromkeys(range(5, 40), status(401)))
        with proxy.serving() as url, pytest.raises(CaptionError, match="answers 401"):
            answers(captioner(url, concurrency=2), requests)
    assert proxy.forwarded == 4
    assert proxy.count < 10


def test_run_that_ends_asks_nothing_again(tmp_path: Path) -> None:
    """Requests that wait for their next try are given up, not tried to the end."""

    def late(handler: Any) -> bool:
        time.sleep(0.25)
        return status(401)(handler)

    with Witness().serving() as target:
        proxy = Proxy(target, {1: late} | dict.fromkeys(range(2, 40), status(503)))
        with proxy.serving() as url, pytest.raises(CaptionError, match="answers 401"):
            answers(captioner(url, concurrency=4, retries=6), film(tmp_path, 4))
    assert proxy.count < 12  # of 22


def test_server_that_is_gone_ends_the_run(tmp_path: Path) -> None:
    with Witness().serving() as url:
        pass
    asked = captioner(url, retries=0, give_up_after=5)
    with pytest.raises(CaptionError, match=r"5 clips in a row got no answer .*unreachable"):
        answers(asked, film(tmp_path, 40))
    assert asked.spent.requests < 30


def test_redirect_takes_no_frame_elsewhere(tmp_path: Path) -> None:
    requests = film(tmp_path, 3)
    elsewhere = Witness()
    with elsewhere.serving() as other, Witness().serving() as target:
        moved = status(307, Location=f"{other}/chat/completions")
        proxy = Proxy(target, dict.fromkeys(range(1, 9), moved))
        with proxy.serving() as url, pytest.raises(CaptionError, match="answers 307"):
            answers(captioner(url), requests)
    assert elsewhere.bodies == []


@pytest.fixture
def proxied(monkeypatch: pytest.MonkeyPatch) -> Iterator[Witness]:
    """A proxy in the environment, as companies have one."""
    proxy = Witness()
    with proxy.serving() as url:
        monkeypatch.setenv("HTTP_PROXY", url)
        monkeypatch.setenv("http_proxy", url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        yield proxy


def test_local_server_is_not_asked_through_a_proxy(tmp_path: Path, proxied: Witness) -> None:
    (request,) = film(tmp_path, 1)
    with Witness().serving() as url:
        (answer,) = answers(captioner(url), [request]).values()
    assert answer.caption == truth(request)
    assert proxied.bodies == []


def test_key_is_sent_and_never_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    key = "sk-verysecret0123456789"
    monkeypatch.setenv("TEMPO_ENDPOINT_KEY", key)
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-another-account")
    caplog.set_level(logging.DEBUG)
    requests = film(tmp_path / "film", 3)
    tell = json.dumps({"error": {"message": f"Incorrect key: {key}"}}).encode()

    def telling(handler: Any) -> bool:
        handler.reply(401, tell)
        return True

    telling_twice = [completion(f"a caption that tells {key}")] * 2
    replies = iter([*telling_twice, completion("a fox")])
    witness = Witness(lambda _: next(replies))
    with witness.serving() as target:
        asked = captioner(target, concurrency=1)
        with Spool(tmp_path / "spool", "run") as spool:
            said = list(asked.answers(requests[:2], spool.add))
        with Proxy(target, {1: telling}).serving() as url, pytest.raises(CaptionError) as raised:
            answers(captioner(url), requests)
    assert witness.headers[0]["Authorization"] == f"Bearer {key}"
    assert "OpenAI-Organization" not in witness.headers[0]
    assert [answer.reason for answer in said] == ["bad_answer", None]
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) == 2
    told = "\n".join([str(raised.value), repr(said), caplog.text, repr(asked.__dict__["_config"])])
    assert key not in told
    assert not any(key.encode() in data for data in written)


def test_interrupted_run_keeps_what_it_paid_for(tmp_path: Path) -> None:
    requests = film(tmp_path / "film", 20)
    release = threading.Event()
    witness = Witness(delay=lambda number: 0.0 if number <= 4 else release.wait(5) and 0.2)
    with witness.serving() as url, Spool(tmp_path / "spool", "run") as spool:
        asking = captioner(url, concurrency=4).answers(requests, spool.add)
        for _ in range(4):
            next(asking)
        release.set()
        asking.close()  # as Ctrl-C does
    (path,) = spools(tmp_path / "spool")
    kept, torn = spooled(path)
    assert torn == 0
    assert len(kept) == len(witness.bodies) < 20
