"""Which server may be asked, and what decides the words."""

import dataclasses
from typing import Any

import pytest

from curation.captioning.asking import AskConfig
from curation.captioning.endpoint import EndpointConfig, is_local, key_for

REMOTE = "https://models.example.org/v1"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("url", "localhost:8000"),
        ("url", "ftp://localhost/v1"),
        ("url", "http://user:sk-secret@localhost/v1"),
        ("url", "http://sk-secret@localhost/v1"),
        ("url", "http://localhost/v1?key=sk-secret"),
        ("key_variable", "sk-secret-key"),
        ("concurrency", 0),
        ("timeout_seconds", 0.0),
        ("timeout_seconds", float("nan")),
        ("retries", -1),
        ("max_requests", 0),
        ("max_tokens", -5),
    ],
)
def test_nonsense_is_refused_and_no_secret_is_told(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"caption.endpoint.{field}") as raised:
        EndpointConfig(**{field: value})
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("0.0.0.0", False),  # noqa: S104 - judged, not bound to
        ("10.0.0.7", False),
        ("localhost.example.org", False),
        ("models.example.org", False),
    ],
)
def test_this_machine_and_others(host: str, local: bool) -> None:
    assert is_local(host) == local


def test_frames_go_elsewhere_only_with_consent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPO_ENDPOINT_KEY", "sk-key")
    with pytest.raises(ValueError, match=r"consent_host=models\.example\.org"):
        key_for(EndpointConfig(url=REMOTE))
    with pytest.raises(ValueError, match="would be sent to models"):
        key_for(EndpointConfig(url=REMOTE, consent_host="example.org"))
    assert key_for(EndpointConfig(url=REMOTE, consent_host="models.example.org")) == "sk-key"
    assert key_for(EndpointConfig()) == "sk-key"


def test_other_machine_without_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    config = EndpointConfig(url=REMOTE, consent_host="models.example.org", key_variable="MY_KEY")
    with pytest.raises(ValueError, match="MY_KEY"):
        key_for(config)
    assert key_for(EndpointConfig(key_variable="MY_KEY")) == ""


def test_fingerprint_is_of_what_decides_the_words() -> None:
    config, ask = EndpointConfig(), AskConfig()
    made_by = config.fingerprint(ask)
    costs: dict[str, Any] = {
        "url": "http://127.0.0.1:1/v1",
        "concurrency": 1,
        "retries": 0,
        "max_tokens": 5,
    }
    for field, value in costs.items():
        assert dataclasses.replace(config, **{field: value}).fingerprint(ask) == made_by
    others = {
        dataclasses.replace(config, model="other").fingerprint(ask),
        dataclasses.replace(config, revision="2").fingerprint(ask),
        dataclasses.replace(config, temperature=0.7).fingerprint(ask),
        config.fingerprint(AskConfig(prompt="Describe.")),
        config.fingerprint(AskConfig(prompt_version=2)),
        config.fingerprint(AskConfig(frames=4)),
        made_by,
    }
    assert len(others) == 7
