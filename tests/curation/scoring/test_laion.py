"""LAION's score against open_clip and a linear layer used directly; files that are not there."""

import json
import socket
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import open_clip
import pytest
import torch
from PIL import Image

from curation.errors import CurationError
from curation.scoring.film import ScoreConfig
from curation.scoring.frames import Judged
from curation.scoring.laion_files import HEAD_FILE
from tests.conftest import REPOSITORY
from tests.curation.scoring.tiny_clip import write_tiny_clip

REAL_HEAD = REPOSITORY.parent / "shared" / "weights" / HEAD_FILE
U8 = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    return write_tiny_clip(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def real_head() -> Path:
    if not REAL_HEAD.is_file():
        pytest.skip(f"LAION's head is not here ({REAL_HEAD})")
    return REAL_HEAD


def settings(files: tuple[Path, Path, Path], **fields: object) -> ScoreConfig:
    config, backbone, head = map(str, files)
    return ScoreConfig(
        **{"scorers": ("laion",), "model": config, "backbone": backbone, "head": head} | fields
    )


def pictures(count: int = 7) -> list[U8]:
    """Wide, tall and square ones, BGR."""
    random = np.random.default_rng(3)
    sizes = [(288, 512), (512, 288), (288, 288)]
    found = []
    for number in range(count):
        noise = random.integers(0, 256, (*sizes[number % 3], 3)).astype(np.uint8)
        found.append(cv2.GaussianBlur(noise, (0, 0), 2.0 + number).astype(np.uint8))
    return found


def judged(config: ScoreConfig, folder: Path) -> Judged:
    (plan,) = config.plans(folder)
    return plan.make().judge(pictures())


def by_hand(files: tuple[Path, Path, Path]) -> tuple[list[float], list[npt.NDArray[np.float32]]]:
    """One picture after the other, by open_clip's own loader and preprocessing."""
    config, backbone, head = files
    open_clip.add_model_config(config)
    model, _, prepare = open_clip.create_model_and_transforms("tiny", pretrained=str(backbone))
    linear = torch.nn.Linear(768, 1)
    linear.load_state_dict(torch.load(head, weights_only=True))
    scores, embeddings = [], []
    with torch.no_grad():
        for picture in pictures():
            rgb = Image.fromarray(np.ascontiguousarray(picture[..., ::-1]))
            feature = model.eval().encode_image(prepare(rgb)[None])
            feature = feature / feature.norm(dim=-1, keepdim=True)
            scores.append(linear(feature).item())
            embeddings.append(feature[0].numpy())
    return scores, embeddings


def test_a_batch_scores_as_open_clip_and_a_linear_layer_do(
    tiny: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    scores, embeddings = by_hand(tiny)
    found = judged(settings(tiny), tmp_path)
    assert found.scores == pytest.approx(scores, abs=1e-4)
    assert found.embeddings is not None
    assert found.embeddings == pytest.approx(np.stack(embeddings), abs=1e-5)
    assert np.ptp(found.scores) > 1e-3  # the pictures are told apart


def test_the_real_head_scores_as_the_linear_layer_that_it_is(
    tiny: tuple[Path, Path, Path], real_head: Path, tmp_path: Path
) -> None:
    files = (*tiny[:2], real_head)
    scores, _ = by_hand(files)
    assert judged(settings(files), tmp_path).scores == pytest.approx(scores, abs=1e-4)


def test_half_precision_is_another_fingerprint_and_nearly_the_same_score(
    tiny: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    exact, rough = (settings(tiny, precision=precision) for precision in ("fp32", "bf16"))
    assert judged(rough, tmp_path).scores == pytest.approx(judged(exact, tmp_path).scores, abs=0.05)
    fingerprints = {config.plans(tmp_path)[0].fingerprint("scan") for config in (exact, rough)}
    assert len(fingerprints) == 2


def test_the_fingerprint_follows_the_bytes_of_the_weights_and_not_their_place(
    tiny: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    (before,) = settings(tiny).plans(tmp_path)
    moved = tmp_path / "elsewhere.pth"
    moved.write_bytes(tiny[2].read_bytes())
    (same,) = settings((*tiny[:2], moved)).plans(tmp_path)
    assert same.fingerprint("scan") == before.fingerprint("scan")
    assert same.fingerprint("another scan") != before.fingerprint("scan")
    torch.save(torch.nn.Linear(768, 1).state_dict(), moved)
    (other,) = settings((*tiny[:2], moved)).plans(tmp_path)
    assert other.fingerprint("scan") != before.fingerprint("scan")


def test_files_are_found_in_the_folder_of_weights(
    tiny: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    for file in tiny[1:]:
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = settings((tiny[0], Path(tiny[1].name), Path(tiny[2].name)))
    assert [file.path for file in config.files(tmp_path)] == [
        tmp_path / tiny[1].name,
        tmp_path / tiny[2].name,
    ]


def test_absent_weights_are_named_with_a_remedy_and_nothing_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    monkeypatch.setattr(socket.socket, "connect", no_network)
    config = ScoreConfig(scorers=("laion",))
    assert [file.path for file in config.files(tmp_path)] == [None, None]
    with pytest.raises(CurationError) as refused:
        config.plans(tmp_path)
    message = str(refused.value)
    for words in (
        "score.backbone", "timm/vit_large_patch14_clip_224.openai", "score.fetch=true",
        "score.head", HEAD_FILE, "LAION-AI/aesthetic-predictor", str(tmp_path), "curate_offline",
    ):  # fmt: skip
        assert words in message


def test_neither_file_nor_tag_lists_the_tags(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="tags: openai"):
        ScoreConfig(scorers=("laion",), backbone="openia").plans(tmp_path)


@pytest.mark.parametrize("broken", ["backbone", "head"])
def test_files_of_something_else_are_named(
    tiny: tuple[Path, Path, Path], tmp_path: Path, broken: str
) -> None:
    config, backbone, head = tiny
    other = tmp_path / "other.pth"
    torch.save({"something": torch.zeros(3)}, other)
    files = (config, other, head) if broken == "backbone" else (config, backbone, other)
    with pytest.raises(CurationError, match=rf"score\.{broken}: .*other\.pth"):
        judged(settings(files), tmp_path)


def test_a_head_of_another_width_is_refused(tiny: tuple[Path, Path, Path], tmp_path: Path) -> None:
    head = tmp_path / "narrow.pth"
    torch.save(torch.nn.Linear(512, 1).state_dict(), head)
    with pytest.raises(CurationError, match=r"512.*768"):
        judged(settings((*tiny[:2], head)), tmp_path)


def test_weights_that_are_code_are_not_run(tiny: tuple[Path, Path, Path], tmp_path: Path) -> None:
    class Code:
        def __reduce__(self) -> tuple[object, tuple[str, ...]]:
            return (json.loads, ("[]",))

    head = tmp_path / "code.pth"
    torch.save(Code(), head)
    with pytest.raises(CurationError, match=r"score\.head"):
        judged(settings((*tiny[:2], head)), tmp_path)
