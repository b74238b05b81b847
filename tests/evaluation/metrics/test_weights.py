"""Where weights are looked for, in which order, and how they are fetched from a real server."""

import functools
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants

from evaluation.errors import MissingWeightsError
from evaluation.metrics import weights
from evaluation.metrics.weights import NETWORKS, Network, find_weights, identity, require_weights

CONTENT = b"some weights"


@pytest.fixture(autouse=True)
def empty_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "weights"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    published = tmp_path / "published"
    published.mkdir()
    (published / "net.pth").write_bytes(CONTENT)
    handler = functools.partial(Quiet, directory=str(published))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}/net.pth"
        served.shutdown()


def put(path: Path, content: bytes = CONTENT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def in_hub_cache(tmp_path: Path) -> Path:
    repository = tmp_path / "hub" / "models--timm--vit_base_patch16_224.dino"
    put(repository / "refs" / "main", b"a" * 40)
    return put(repository / "snapshots" / ("a" * 40) / "model.safetensors")


def test_a_named_file_comes_before_all_others(tmp_path: Path, folder: Path) -> None:
    in_hub_cache(tmp_path)
    put(folder / "dino_vitbase16_pretrain.pth")
    mine = put(tmp_path / "mine.pth")
    assert find_weights("dino", str(mine), folder, fetch=False).path == mine
    inside = put(folder / "mine-too.pth")
    assert find_weights("dino", "mine-too.pth", folder, fetch=False).path == inside


def test_the_homes_folder_comes_before_caches(tmp_path: Path, folder: Path) -> None:
    cached = in_hub_cache(tmp_path)
    assert find_weights("dino", "", folder, fetch=False).path == cached
    own = put(folder / "dino_vitbase16_pretrain.pth")
    assert find_weights("dino", "", folder, fetch=False).path == own


def test_torchs_cache_is_looked_into(tmp_path: Path, folder: Path) -> None:
    place = put(tmp_path / "torch" / "checkpoints" / "raft_large_C_T_V1-22a6c225.pth")
    assert find_weights("raft", "", folder, fetch=False).path == place


def test_a_named_file_that_is_not_there_is_never_replaced(tmp_path: Path, folder: Path) -> None:
    in_hub_cache(tmp_path)
    absent = find_weights("dino", "typo.pth", folder, fetch=True)
    assert absent.path is None
    with pytest.raises(MissingWeightsError, match=r"typo\.pth is neither a file nor in"):
        require_weights([absent], folder)


def test_nothing_is_fetched_unless_asked_for(
    server: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = hashlib.sha256(CONTENT).hexdigest()
    network = Network("a net", ("net.pth",), url=server, hash_prefix=digest[:8])
    monkeypatch.setitem(NETWORKS, "net", network)
    assert find_weights("net", "", folder, fetch=False).path is None
    assert not folder.exists()
    fetched = find_weights("net", "", folder, fetch=True)
    assert fetched.path == folder / "net.pth"
    assert fetched.path.read_bytes() == CONTENT
    assert identity(fetched) == digest


def test_what_is_fetched_must_be_what_was_published(
    server: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forged = Network("a net", ("net.pth",), url=server, hash_prefix="00000000")
    monkeypatch.setitem(NETWORKS, "net", forged)
    with pytest.raises(MissingWeightsError, match="cannot be fetched"):
        find_weights("net", "", folder, fetch=True)
    assert not any(folder.iterdir())
    gone = Network("a net", ("net.pth",), url=server + ".gone", hash_prefix="0")
    monkeypatch.setitem(NETWORKS, "net", gone)
    with pytest.raises(MissingWeightsError, match="404"):
        find_weights("net", "", folder, fetch=True)


def test_a_file_that_changes_is_hashed_again(folder: Path) -> None:
    path = put(folder / "raft_large_C_T_V1-22a6c225.pth")
    before = identity(find_weights("raft", "", folder, fetch=False))
    put(path, CONTENT + b"!")
    assert identity(find_weights("raft", "", folder, fetch=False)) != before


def test_laions_head_is_the_published_one(tmp_path: Path) -> None:
    head = Path(__file__).resolve().parents[4] / "shared/weights/sa_0_4_vit_l_14_linear.pth"
    if not head.is_file():
        pytest.skip(f"LAION's head is not here ({head})")
    found = weights.find_weights("laion_head", str(head), tmp_path, fetch=False)
    assert identity(found).startswith(NETWORKS["laion_head"].hash_prefix)
