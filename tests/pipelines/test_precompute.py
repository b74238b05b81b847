"""`tempo precompute`: kills, damage, and training that uses what was made, or says why not."""

import dataclasses
import json
import shutil
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from curation.catalog.store import Catalog
from curation.records import RunRow, SideShardsRow
from pipelines.commands.precompute import precompute_command
from pipelines.engine import SerialEngine
from pipelines.forget import forget
from pipelines.job import Silence
from pipelines.precompute import MadeSet, PrecomputeRequest, planned, precompute
from pipelines.precomputed import Choice, choose
from pipelines.recipes.training import training_recipe
from pipelines.settings import Home, with_overrides
from pipelines.side_lock import held_set
from pipelines.train import TrainRequest, train
from tests.conftest import REPOSITORY
from tests.pipelines.test_cli import tempo
from tests.pipelines.test_train import SMALL, Listener
from tests.training.tiny_dataset import TinyDataset
from tests.training.tiny_run import lines
from training.config import TrainConfig
from training.errors import SideShardError
from training.versions import published_version

SHARD_BYTES = "precomputed.shard_bytes=7000"
SHARDS_OF_20_KB = "precomputed.shard_bytes=20000"
WINDOWS = (
    "data.windows.starts=2",
    "data.examples.least_view=1",
    "precomputed.conditions=first",
    "precomputed.shard_bytes=90000",
)

KILLED_AFTER_TWO_SHARDS = """
import os, signal, sys
from pathlib import Path
from pipelines.engine import SerialEngine
from pipelines.precompute import PrecomputeRequest, precompute
from pipelines.settings import Home
from tests.pipelines.test_precompute import config
from tests.pipelines.test_train import Listener

class Killer(Listener):
    kind, left = "", 2

    def stage(self, name, total):
        self.kind = name

    def advance(self):
        self.left -= self.kind == "text"
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)

precompute(PrecomputeRequest(config(), "tiny"), Home(Path(sys.argv[1])), SerialEngine(), Killer())
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, tiny: TinyDataset) -> Home:
    folder = tmp_path_factory.mktemp("precompute") / "home"
    shutil.copytree(tiny.home, folder)
    return Home(folder)


def config(*settings: str) -> TrainConfig:
    return with_overrides(training_recipe("train_debug_cpu"), [*SMALL, SHARD_BYTES, *settings])


def make(home: Home, *settings: str) -> MadeSet:
    (made,) = precompute(
        PrecomputeRequest(config(*settings), "tiny"), home, SerialEngine(), Listener()
    )
    return made


def rows(home: Home) -> list[SideShardsRow]:
    with Catalog.open(home.catalog()) as catalog:
        return catalog.rows(SideShardsRow)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".lock"}


def chosen(home: Home, *settings: str) -> Choice:
    with Catalog.open(home.catalog()) as catalog:
        return choose(catalog, home, published_version(catalog, "tiny"), config(*settings))


@pytest.fixture(scope="module")
def text(home: Home) -> MadeSet:
    """Before it, nothing is precomputed, and training says so."""
    assert chosen(home).lines[0] == (
        "text embeddings: encoded on the fly (none precomputed for tiny@1)"
    )
    with pytest.raises(SideShardError, match=r"text = require: none precomputed .* as you train"):
        chosen(home, "precomputed.text=require")
    return make(home)


def test_what_a_call_leaves(home: Home, text: MadeSet, tiny: TinyDataset) -> None:
    assert text.folder == home.root / "precomputed" / "tiny" / "1" / f"text-{text.side_id}"
    (row,) = (row for row in rows(home) if row.kind == "text")
    assert home.root / row.uri == text.folder / "side.json"
    assert (row.kind, row.dataset, row.version, row.damaged) == ("text", "tiny", 1, 0)
    assert row.fingerprint == text.fingerprint == "bytes-1:8x32"
    assert (row.members, row.shards, row.bytes) == (text.members, text.shards, text.bytes)
    assert text.written == text.shards > 3
    with Catalog.open(home.catalog()) as catalog:
        run = min(catalog.rows(RunRow, {"kind": "precompute"}), key=lambda run: run.started_at)
    assert json.loads(run.summary)["sets"][0]["side_id"] == text.side_id
    said = {""}  # and what is said of shots that follow each other, on both sides
    for document in tiny.documents.values():
        shots = [shot["caption"] for shot in document["shots"]]
        for first in range(len(shots)):
            for end in range(first + 1, len(shots) + 1):
                run_of = shots[first:end]
                tagged = "<MultiShot> " + " <Scene Cut> ".join(run_of)
                said.add(tagged if len(run_of) > 1 else run_of[0])
    assert text.members == len(said)


def test_again_mends_what_is_damaged_and_nothing_else(home: Home, text: MadeSet) -> None:
    whole = files(text.folder)
    assert make(home).written == 0
    tars = sorted(text.folder.glob("*.tar"))
    tars[0].write_bytes(tars[0].read_bytes()[:-100])
    tars[1].unlink()
    tars[2].with_suffix(".json").unlink()
    (text.folder / "side.json").write_text("{}")
    (text.folder / "members.parquet").unlink()
    said = chosen(home).said["text"]
    assert said.startswith("encoded on the fly (precomputed tensors in ")
    assert "side.json is not the one that was written; run `tempo precompute` again" in said
    assert make(home).written == 3
    assert files(text.folder) == whole
    assert sum(row.kind == "text" for row in rows(home)) == 1


def test_a_complete_set_stays_cut_as_it_is(home: Home, text: MadeSet) -> None:
    whole, listener = files(text.folder), Listener()
    larger = PrecomputeRequest(config("precomputed.shard_bytes=900000"), "tiny")
    (again,) = precompute(larger, home, SerialEngine(), listener)
    assert (again.written, again.shards) == (0, text.shards)
    assert files(text.folder) == whole
    (said,) = listener.said
    assert "shards of 7,000 bytes at most and stays so (precomputed.shard_bytes = 900,000)" in said


def test_which_is_used(home: Home, text: MadeSet) -> None:
    found = chosen(home)
    assert found.precomputed.text is not None
    assert found.precomputed.text.manifest == str(text.folder / "side.json")
    assert found.said["text"].startswith(f"precomputed (text-{text.side_id}: {text.members} in ")
    never = chosen(home, "precomputed.text=never")
    assert never.precomputed.text is None
    assert never.lines[0] == "text embeddings: encoded on the fly (precomputed.text = never)"
    other = chosen(home, "text.length=9")
    assert other.precomputed.text is None
    assert "none precomputed for tiny@1 by bytes-1:9x32 with these settings" in other.said["text"]
    assert "there are some by bytes-1:8x32" in other.said["text"]
    with pytest.raises(SideShardError, match="by bytes-1:9x32"):
        chosen(home, "text.length=9", "precomputed.text=require")


def test_a_dry_run_loads_and_writes_nothing(home: Home, text: MadeSet) -> None:
    umt5 = dataclasses.replace(
        config("text.length=9"), text=training_recipe("train_stage1_a14b").text
    )
    before = sorted((home.root / "precomputed").rglob("*"))
    (plan,) = planned(PrecomputeRequest(umt5, "tiny"), home, Listener())
    assert plan.members == text.members
    assert plan.bytes > plan.members * 512 * 32 * 4
    assert plan.before == [text.side_id]
    assert sorted((home.root / "precomputed").rglob("*")) == before


def test_the_command_says_where_things_are(home: Home, text: MadeSet) -> None:
    options = ("--dataset", "tiny@1", "--home", str(home.root), "--set", SHARD_BYTES)
    asked = tempo("precompute", "train_debug_cpu", *options, "--dry-run", "--json")
    assert asked.returncode == 0, asked.stderr
    (plan,) = json.loads(asked.stdout.splitlines()[-1])["sets"]
    assert (plan["members"], plan["before"]) == (text.members, [text.side_id])
    # With the set in place the next call writes nothing, and at another size it keeps its cut; a
    # dry run cannot know whose the set is, and says what its figures are.
    larger = tempo("precompute", "train_debug_cpu", *options[:-1], SHARDS_OF_20_KB, "--dry-run")
    told, there = larger.stdout.splitlines()
    assert plan["shards"] == text.shards > 1
    assert f"{text.members} tensors in 1 shards of at most 0.02 MB if none of it is there" in told
    assert f"there is text-{text.side_id}" in there
    assert "it stays cut as it is, and only what is missing or damaged of it is written" in there
    done = tempo("precompute", "train_debug_cpu", *options)
    assert done.returncode == 0, done.stderr
    assert f"0 shards written, {text.shards} were there" in done.stdout
    assert str(text.folder) in done.stdout
    wrong = tempo("precompute", "train_debug_cpu", *options, "--what", "latents")
    assert wrong.returncode == 1
    assert "--set data.windows.starts=4" in wrong.stderr


def test_a_sample_whose_words_are_damaged_is_named(
    home: Home, text: MadeSet, tmp_path: Path
) -> None:
    """Its JSON, that is: of a video that is damaged the words are embedded, and never asked for."""
    copy = Home(tmp_path / "home")
    shutil.copytree(home.root, copy.root)
    tar = next(copy.datasets.glob("tiny/1/train-*.tar"))
    with tarfile.open(tar) as archive:
        member = next(member for member in archive if member.name.endswith(".json"))
    with tar.open("r+b") as file:
        file.seek(member.offset_data)
        file.write(b"[[[[")
    sample = member.name.removesuffix(".json")
    made = make(copy, "text.length=11")
    assert made.members <= text.members
    assert made.damaged.keys() == {sample}
    assert made.damaged[sample].startswith("its JSON cannot be read")
    said = chosen(copy, "text.length=11").said["text"]
    assert f"; samples damaged when it was made: 1 (such as {sample}); training stops" in said


def test_a_missing_encoder_is_said_before_anything_is_made(home: Home, tmp_path: Path) -> None:
    lost = dataclasses.replace(
        config(), text=dataclasses.replace(training_recipe("train_stage1_a14b").text,
                                           source=str(tmp_path / "lost"))
    )  # fmt: skip
    with pytest.raises(Exception, match=r"text\.source = .*lost: its weights cannot be loaded"):
        precompute(PrecomputeRequest(lost, "tiny"), home, SerialEngine(), Listener())
    with Catalog.open(home.catalog()) as catalog:
        assert catalog.rows(RunRow, {"kind": "precompute", "status": "failed"})


def test_killed_and_run_again(home: Home, text: MadeSet, tmp_path: Path) -> None:
    copy = Home(tmp_path / "home")
    shutil.copytree(home.root, copy.root)
    folder = copy.precomputed / "tiny" / "1" / text.folder.name
    shutil.rmtree(folder)
    ended = subprocess.run(
        [sys.executable, "-c", KILLED_AFTER_TWO_SHARDS, str(copy.root)], cwd=REPOSITORY, check=False
    )
    assert ended.returncode == -signal.SIGKILL
    assert {path.stem for path in folder.glob("*.json")} == {"000000", "000001"}
    assert make(copy).written == text.shards - 2
    assert files(folder) == files(text.folder)


@pytest.fixture(scope="module")
def latents(home: Home) -> MadeSet:
    request = PrecomputeRequest(config(*WINDOWS), "tiny", ("latents",))
    (plan,) = planned(request, home, Listener())
    (made,) = precompute(request, home, SerialEngine(), Listener())
    assert (plan.members, plan.shards) == (made.members, made.shards)
    assert made.bytes <= plan.bytes < 2 * made.bytes
    return made


def test_latents_have_their_row_and_mend(home: Home, latents: MadeSet) -> None:
    (row,) = (row for row in rows(home) if row.kind == "latents")
    assert row.fingerprint.startswith("dct-1:")
    assert json.loads(row.settings)["conditions"] == ["first"]
    assert json.loads(row.settings)["windows"]["starts"] == 2
    assert latents.written == latents.shards > 3
    whole = files(latents.folder)
    next(latents.folder.glob("*2.tar")).unlink()
    request = PrecomputeRequest(config(*WINDOWS), "tiny", ("latents",))
    (again,) = precompute(request, home, SerialEngine(), Listener())
    assert again.written == 1
    assert files(latents.folder) == whole
    assert chosen(home).said["latents"] == "encoded on the fly (data.windows.starts = none)"
    assert chosen(home, *WINDOWS).precomputed.latents is not None
    assert chosen(home, *WINDOWS[:2]).precomputed.latents is None, "without conditions, another set"
    with pytest.raises(ValueError, match=r"starts = none: windows that begin anywhere"):
        PrecomputeRequest(config(), "tiny", ("latents",))


def test_training_is_the_same_with_and_without(home: Home, text: MadeSet, latents: MadeSet) -> None:
    """Bit for bit: losses and validation, with the two sides' captions and dropped ones."""
    listener = Listener()
    made = {}
    for use in ("never", "require"):
        uses = (f"precomputed.text={use}", f"precomputed.latents={use}")
        lean = ("steps=2", "validation.videos=none", "checkpoint.generator=false")
        changed = config(*lean, "data.examples.text_dropout=0.5", *WINDOWS, *uses)
        made[use] = train(TrainRequest(changed, "tiny", f"with-{use}", ranks=1), home, listener)
    for said in (
        "text embeddings: encoded on the fly (precomputed.text = never)",
        "latents: encoded on the fly (precomputed.latents = never)",
        *chosen(home, *WINDOWS).lines,
    ):
        assert said in listener.said
    used = made["require"].precomputed
    assert used["text"].startswith(f"precomputed (text-{text.side_id}")
    assert used["latents"].startswith(f"precomputed (latents-{latents.side_id}")
    one, other = (lines(home.runs / f"with-{use}") for use in ("never", "require"))
    assert one == other
    assert made["never"].val_loss == made["require"].val_loss


def test_a_takedown_lists_what_is_whole_or_being_made_and_purges_the_rest(
    home: Home, text: MadeSet
) -> None:
    half = text.folder.with_name(f"text-{'0' * 32}")
    half.mkdir()
    (half / "000000.tar").write_bytes(b"words of the film")
    being_made = text.folder.with_name(f"text-{'1' * 32}")
    with Catalog.open(home.catalog()) as catalog:
        film = catalog.read("samples", columns=["video_id"])["video_id"][0].as_py()
    with held_set(being_made):
        gone = forget(home, film, "rights", Silence())
    assert gone.versions == ["tiny@1"]
    assert {str(text.folder), str(being_made)} <= set(gone.side_shards)
    assert text.folder.exists() and being_made.exists()
    assert not half.exists()


def test_what_can_be_precomputed_is_said() -> None:
    with pytest.raises(ValueError, match=r"what='texts': give some of text"):
        precompute_command("train_debug_cpu", "tiny", what="texts")
    with pytest.raises(ValueError, match="each once"):
        PrecomputeRequest(config(), "tiny", ("text", "text"))
