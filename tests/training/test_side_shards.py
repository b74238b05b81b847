"""Side shards, read by stock tools; and what becomes of them when they are damaged."""

import dataclasses
import json
import shutil
import tarfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import safetensors.torch
import torch
from torch import Tensor

from curation.identities import digest
from training.errors import SideShardError
from training.side_shards import (
    INDEX,
    MANIFEST,
    SideHead,
    SideRef,
    SideShards,
    WrittenSet,
    cut_of,
    publish_set,
    shard_name,
    sound_shard,
    write_shard,
)

HEAD = SideHead("text", "a" * 64, "bytes-1:3x4", {"length": 3, "width": 4})
CONTENT = {
    digest("test", str(k)): {"one": torch.arange(k + 1.0), "two": torch.ones(2, k).bfloat16()}
    for k in range(7)
}


def made(folder: Path, *, size: int = 3) -> WrittenSet:
    keys = list(CONTENT)
    shards = []
    for number, first in enumerate(range(0, len(keys), size)):
        part = keys[first : first + size]
        members = ((key, CONTENT[key]) for key in part)
        shards.append(write_shard(folder, shard_name(number), digest(*part), members, {}))
    return publish_set(folder, HEAD, size, shards, {"b" * 32: "its JSON cannot be read"})


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype and torch.equal(one[name], other[name]) for name in one
    )


def test_stock_tools_read_them(tmp_path: Path) -> None:
    written = made(tmp_path / "set")
    found = {}
    for tar in sorted(tmp_path.glob("set/*.tar")):
        with tarfile.open(tar) as archive:
            for member in archive:
                content = archive.extractfile(member)
                assert content is not None
                assert (member.mtime, member.uid, member.uname) == (0, 0, "")
                found[member.name] = safetensors.torch.load(content.read())
    assert found.keys() == {f"{key}.safetensors" for key in CONTENT}
    assert all(same(found[f"{key}.safetensors"], CONTENT[key]) for key in CONTENT)
    assert (written.shards, written.members) == (3, 7)
    assert written.bytes == sum(tar.stat().st_size for tar in tmp_path.glob("set/*.tar"))


def test_members_are_found_by_their_keys(tmp_path: Path) -> None:
    written = made(tmp_path / "set")
    with SideShards.open(written.ref) as shards:
        assert len(shards) == 7
        assert (shards.head, shards.bytes) == (HEAD, written.bytes)
        assert shards.damaged == written.damaged == {"b" * 32: "its JSON cannot be read"}
        for key, tensors in reversed(CONTENT.items()):
            assert key in shards
            assert same(shards.read(key), tensors)
        for missing in ("0" * 32, "f" * 32, next(iter(CONTENT)) + "0", ""):
            assert missing not in shards
            with pytest.raises(KeyError):
                shards.read(missing)


def test_the_same_work_gives_the_same_bytes(tmp_path: Path) -> None:
    one, other = made(tmp_path / "one"), made(tmp_path / "other")
    assert one.ref.sha256 == other.ref.sha256
    assert files(tmp_path / "one") == files(tmp_path / "other")


def test_a_shard_that_is_whole_is_left_alone(tmp_path: Path) -> None:
    made(tmp_path)
    plan = digest(*list(CONTENT)[:3])
    assert sound_shard(tmp_path, "000000", plan) is not None
    assert sound_shard(tmp_path, "000000", digest("other work")) is None
    tar, index = tmp_path / "000000.tar", tmp_path / "000000.json"
    whole = tar.read_bytes()
    for damaged in (whole[:-1], whole[:600] + b"?" + whole[601:]):
        tar.write_bytes(damaged)
        assert sound_shard(tmp_path, "000000", plan) is None
    tar.unlink()
    assert sound_shard(tmp_path, "000000", plan) is None
    tar.write_bytes(whole)
    for damaged in (b"", b"{}", b"[1]", index.read_bytes()[:-9]):
        index.write_bytes(damaged)
        assert sound_shard(tmp_path, "000000", plan) is None


def test_what_failed_leaves_nothing_to_be_seen(tmp_path: Path) -> None:
    def members() -> object:
        yield next(iter(CONTENT.items()))
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        write_shard(tmp_path, "000000", "plan", members(), {})
    assert list(tmp_path.iterdir()) == []


def test_a_complete_set_tells_how_it_is_cut(tmp_path: Path) -> None:
    assert cut_of(tmp_path, HEAD) is None
    made(tmp_path, size=4)
    assert cut_of(tmp_path, HEAD) == 4
    assert cut_of(tmp_path, dataclasses.replace(HEAD, fingerprint="another")) is None
    for damaged in ("", "{}", "[]", "{"):
        (tmp_path / MANIFEST).write_text(damaged)
        assert cut_of(tmp_path, HEAD) is None


def test_a_set_that_lost_a_shard_is_not_published(tmp_path: Path) -> None:
    members = list(CONTENT.items())
    shards = [write_shard(tmp_path, shard_name(k), "", [members[k]], {}) for k in range(2)]
    (tmp_path / "000001.tar").unlink()
    with pytest.raises(SideShardError, match=r"000001\.tar was in place and is not any more"):
        publish_set(tmp_path, HEAD, 1, shards, {})
    assert not (tmp_path / MANIFEST).exists()


def test_shards_of_another_size_do_not_stay(tmp_path: Path) -> None:
    made(tmp_path, size=1)
    (tmp_path / ".000009.1234.partial").write_bytes(b"half a shard")
    made(tmp_path, size=4)
    assert {path.name for path in tmp_path.iterdir()} == {
        "000000.tar", "000000.json", "000001.tar", "000001.json", MANIFEST, INDEX,
    }  # fmt: skip


@pytest.mark.parametrize("name", ["000001.tar", INDEX, MANIFEST])
def test_what_is_missing_or_changed_is_refused(tmp_path: Path, name: str) -> None:
    ref = made(tmp_path / "set").ref
    for number, damage in enumerate((b"", None)):
        folder = tmp_path / str(number)
        shutil.copytree(tmp_path / "set", folder)
        if damage is None:
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(damage)
        with pytest.raises(SideShardError, match="run `tempo precompute` again"):
            SideShards.open(SideRef(str(folder / MANIFEST), ref.sha256))


def test_damage_inside_of_a_shard_is_found_when_it_is_read(tmp_path: Path) -> None:
    ref = made(tmp_path).ref
    rows = {row["key"]: row for row in pq.read_table(tmp_path / INDEX).to_pylist()}
    key = list(CONTENT)[4]
    tar = tmp_path / f"{rows[key]['shard']:06d}.tar"
    data = bytearray(tar.read_bytes())
    data[rows[key]["offset"] + rows[key]["size"] - 1] ^= 1
    tar.write_bytes(data)
    with SideShards.open(ref) as shards:
        with pytest.raises(SideShardError, match=rf"{tar.name} holds other bytes of {key}"):
            shards.read(key)
        for other in CONTENT.keys() - {key}:
            assert same(shards.read(other), CONTENT[other])


def test_identity_is_what_they_were_made_from() -> None:
    others = [
        SideHead("latents", "a" * 64, "bytes-1:3x4", {"length": 3, "width": 4}),
        SideHead("text", "b" * 64, "bytes-1:3x4", {"length": 3, "width": 4}),
        SideHead("text", "a" * 64, "bytes-1:3x5", {"length": 3, "width": 4}),
        SideHead("text", "a" * 64, "bytes-1:3x4", {"length": 3, "width": 5}),
    ]
    assert len({head.side_id for head in [HEAD, *others]}) == 5
    recorded = json.loads(json.dumps({"width": 4, "length": 3}))
    assert SideHead("text", "a" * 64, "bytes-1:3x4", recorded).side_id == HEAD.side_id
