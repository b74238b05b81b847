"""The local captioner, on a tiny Qwen2-VL with random weights."""

import dataclasses
import io
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from PIL import Image

from curation.captioning.asking import AskConfig, question
from curation.captioning.local import LocalConfig, Weights, find_weights
from curation.captioning.vlm import LocalCaptioner
from curation.errors import CaptionError
from tests.curation.captioning.clips import film
from tests.curation.captioning.tiny_vlm import build

ASK = AskConfig(prompt="bada $frames", frames=3, answer_tokens=40)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)  # a model this small only loses by more


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("vlm"))


def captioner(folder: Path, ask: AskConfig = ASK, **fields: Any) -> LocalCaptioner:
    config = LocalConfig(model=str(folder), device="cpu", **fields)
    return LocalCaptioner(config, ask, find_weights(config))


def by_transformers(folder: Path, text: str, jpegs: list[bytes]) -> str:
    """The answer to one question, as the library's own documentation generates it."""
    library: Any = transformers
    processor = library.AutoProcessor.from_pretrained(folder)
    model = library.AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    content = [{"type": "image"} for _ in jpegs] + [{"type": "text", "text": text}]
    prompt = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True
    )
    pictures = [Image.open(io.BytesIO(jpeg)).convert("RGB") for jpeg in jpegs]
    inputs = processor(text=[prompt], images=pictures, return_tensors="pt")
    with torch.no_grad():
        sequence = model.generate(**inputs, do_sample=False, max_new_tokens=40)
    answer = sequence[0, inputs["input_ids"].shape[1] :]
    return str(processor.decode(answer, skip_special_tokens=True))


def test_batch_says_what_transformers_says_of_each_clip_alone(folder: Path, tmp_path: Path) -> None:
    # Films whose clips have one to three frames: prompts of different lengths in one batch.
    requests = [
        request
        for frames in (3, 1, 2)
        for request in film(tmp_path / str(frames), 3, frames, f"film{frames}")
    ]
    said = captioner(folder).caption(requests)
    assert [answer.clip_id for answer in said] == [request.clip.clip_id for request in requests]
    expected = []
    for request in requests:
        asked = question(request, ASK)
        expected.append(by_transformers(folder, asked.text, asked.pictures))
    assert [answer.caption for answer in said] == expected
    assert len(set(expected)) > 4
    assert {answer.reason for answer in said} == {None}


def test_pictures_decide_the_words(folder: Path, tmp_path: Path) -> None:
    """A caption goes with its clip, whatever stands beside it in the batch."""
    requests = film(tmp_path, 8)
    local = captioner(folder)
    together = {answer.clip_id: answer.caption for answer in local.caption(requests)}
    backwards = {answer.clip_id: answer.caption for answer in local.caption(requests[::-1])}
    alone = {
        answer.clip_id: answer.caption
        for request in requests
        for answer in local.caption([request])
    }
    assert together == backwards == alone


def test_answer_that_does_not_end_is_tried_again_and_recorded(tmp_path: Path) -> None:
    folder = build(tmp_path / "vlm", ends=False)
    requests = [*film(tmp_path / "a", 2), *film(tmp_path / "b", 1, evidence=0, name="b")]
    said = captioner(folder, dataclasses.replace(ASK, answer_tokens=8)).caption(requests)
    assert [answer.caption for answer in said] == [None] * 3
    assert {answer.reason for answer in said[:2]} <= {"truncated", "repeated"}
    assert said[2].reason == "no_evidence"
    assert all(answer.final for answer in said)


def test_second_try_differs(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the clips whose first answer cannot stand are asked about again."""
    requests = film(tmp_path, 6)
    local = captioner(folder)
    first = {answer.clip_id: answer.caption for answer in local.caption(requests)}
    bad = max(first.values(), key=lambda caption: len(str(caption)))
    tried: list[tuple[int, dict[str, Any]]] = []
    said = local._said

    def spoiled(asked: Any, options: dict[str, Any]) -> Any:
        tried.append((len(asked), options))
        answers = said(asked, options)
        return answers if options else [(t, end and t != bad) for t, end in answers]

    monkeypatch.setattr(local, "_said", spoiled)
    again = {answer.clip_id: answer for answer in local.caption(requests)}
    spoilt = sum(caption == bad for caption in first.values())
    assert tried == [(6, {}), (spoilt, {"repetition_penalty": 1.15})]
    assert all(again[clip].caption == caption for clip, caption in first.items() if caption != bad)


def test_dtype_is_what_was_asked_for(folder: Path, tmp_path: Path) -> None:
    local = captioner(folder, dtype="bfloat16")
    assert {weight.dtype for weight in local._model.parameters()} == {torch.bfloat16}
    assert len(local.caption(film(tmp_path, 1))) == 1
    assert {weight.dtype for weight in captioner(folder)._model.parameters()} == {torch.float32}


def test_weights_are_known_by_their_content(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / folder.name
    copy.mkdir()
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    (copy / "README.md").write_text("not loaded")
    here, there = (find_weights(LocalConfig(model=str(place))) for place in (folder, copy))
    assert here.name == there.name
    config = LocalConfig()
    assert here.fingerprint(config, ASK) == there.fingerprint(config, ASK)
    weights = next(copy.glob("*.safetensors"))
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    changed = find_weights(LocalConfig(model=str(copy)))
    assert changed.name != here.name
    assert str(tmp_path) not in changed.name
    others = {
        here.fingerprint(dataclasses.replace(config, dtype="float16"), ASK),
        here.fingerprint(config, dataclasses.replace(ASK, prompt_version=2)),
        here.fingerprint(config, ASK),
        changed.fingerprint(config, ASK),
        dataclasses.replace(here, name="a/b@c").fingerprint(config, ASK),
    }
    assert len(others) == 5


@pytest.mark.parametrize("model", ["some/model", "no/such/folder", "empty"])
def test_absent_weights_are_an_error_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(CaptionError) as raised:
        find_weights(LocalConfig(model=model))
    for part in (model, "hf download Qwen/Qwen3-VL-8B-Instruct", "captioners=sidecar,describe"):
        assert part in str(raised.value)


def test_weights_of_a_hub_s_cache_are_known_by_their_commit(tmp_path: Path) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    weights = Weights(tmp_path / commit, f"Qwen/Qwen3-VL-8B-Instruct@{commit}")
    assert weights.fingerprint(LocalConfig(), ASK) != dataclasses.replace(
        weights, name="Qwen/Qwen3-VL-8B-Instruct@" + "f" * 40
    ).fingerprint(LocalConfig(), ASK)


@pytest.mark.parametrize(
    ("field", "value"),
    [("model", ""), ("clips_at_once", 0), ("processes", 0), ("batch_seconds", 0.0)],
)
def test_nonsense_is_refused(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=r"caption\.local"):
        LocalConfig(**{field: value})
