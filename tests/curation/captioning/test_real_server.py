"""The endpoint captioner against the server that transformers ships, on a tiny Qwen2-VL.

The server is a process of its own, and so is what it computes: the words are compared with those
that the model says when it is asked directly, clip by clip.
"""

import http.client
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from curation.captioning.asking import AskConfig
from curation.captioning.endpoint import EndpointConfig
from curation.captioning.served import EndpointCaptioner
from curation.captioning.words import Answer, CaptionRequest
from tests.curation.captioning.clips import film
from tests.curation.captioning.servers import Proxy, drop, raw, status, wait
from tests.curation.captioning.tiny_vlm import build, offline
from tests.servers import dying_with_us

ASK = AskConfig(prompt="bada $frames", frames=2, answer_tokens=40)
_PATIENCE = 180.0


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("vlm"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`transformers serve`, once it answers."""
    pytest.importorskip("uvicorn", reason="the server of transformers needs transformers[serving]")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("server")
    command = [
        sys.executable, "-m", "transformers.cli.transformers", "serve",
        "--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--dtype", "float32",
    ]  # fmt: skip
    environment = offline() | {"HF_HOME": str(folder), "OMP_NUM_THREADS": "1"}
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(dying_with_us(command), env=environment, stdout=out, stderr=out)
        try:
            _await(port, process, log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.kill()
            process.wait()


def _await(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"the server ended:\n{log.read_text()[-2000:]}")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.1)
        finally:
            connection.close()
    pytest.fail(f"the server is not ready after {_PATIENCE} s:\n{log.read_text()[-2000:]}")


def ask(url: str, model: Path, requests: list[CaptionRequest]) -> dict[str, Answer]:
    config = EndpointConfig(url=url, model=str(model), concurrency=4, retries=4)
    kept: list[Answer] = []
    given = list(EndpointCaptioner(config, ASK).answers(requests, kept.append))
    assert len(given) == len(kept) == len(requests)
    return {answer.clip_id: answer for answer in given}


def test_served_words_are_those_of_the_model_for_that_clip(
    server: str, model: Path, tmp_path: Path
) -> None:
    """Through a proxy that delays, refuses, drops, cuts off and garbles."""
    # Imported late: while the server starts, this process must not.
    from curation.captioning.local import LocalConfig, find_weights
    from curation.captioning.vlm import LocalCaptioner

    requests = film(tmp_path, 12)
    faults = {
        1: wait(0.5),
        2: status(429, Retry_After="0.2"),
        4: status(500),
        5: drop,
        7: raw(b'{"choices": [', length=900),
        9: raw(b'{"choices": [{"message": {"content": "\xff\xfe"}}]}'),
        11: wait(0.3),
        13: status(503),
    }
    proxy = Proxy(server, faults)
    with proxy.serving() as url:
        served = ask(url, model, requests)
    config = LocalConfig(model=str(model), device="cpu")
    direct = LocalCaptioner(config, ASK, find_weights(config))
    expected = {
        answer.clip_id: answer.caption
        for request in requests
        for answer in direct.caption([request])
    }
    assert len(set(expected.values())) > 5
    # The garbled reply's clip was asked again with a penalty, so its words may be others.
    same = sum(served[clip_id].caption == caption for clip_id, caption in expected.items())
    assert same >= 11
    assert all(answer.caption for answer in served.values())
    assert proxy.forwarded == 12
    assert proxy.count == 12 + 6
