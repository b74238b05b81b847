"""`tempo evaluate` from prompts to a table: kept videos, failures, kills, hostile input."""

import dataclasses
import hashlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from curation.catalog.store import Catalog
from curation.records import CheckpointRow, EvaluationRow, RunRow, now
from curation.video.film import Film
from evaluation.errors import EvaluationError
from evaluation.metrics.config import MetricsConfig
from evaluation.metrics.versions import VERSIONS
from evaluation.wording import table_words
from model import flops, presets
from pipelines.crew import StageSetupError
from pipelines.engine import LocalEngine, SerialEngine
from pipelines.evaluate import Evaluated
from pipelines.evaluate_config import EvaluateRequest
from pipelines.evaluate_plan import prepare
from pipelines.job import Silence
from pipelines.recipes.evaluation import RECIPES
from pipelines.report_eval import read_evaluation, write_report
from pipelines.settings import Home
from pipelines.suites import FromDataset, dataset_suite
from tests.conftest import REPOSITORY
from tests.pipelines import tiny_library
from tests.pipelines.process_for_evaluation import (
    COARSE,
    CONFIG,
    FINE,
    FRAMES,
    HEIGHT,
    TEXT,
    WIDTH,
    WORDS,
    lasting,
    run,
    write_generator,
    write_two_prompts,
)
from tests.pipelines.test_cli import Ended, tempo

SETTINGS = (
    "--set", f"sampler.width={WIDTH}", "--set", f"sampler.height={HEIGHT}",
    "--set", "sampler.guidance=2", "--frames", str(FRAMES), "--schedules", COARSE, FINE,
)  # fmt: skip


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A training checkpoint that holds a generator, and another generator."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("checkpoints")
    inside = write_generator(folder / "step-00000001" / "generator")
    return inside.parent, write_generator(folder / "other", seed=1)


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_two_prompts(tmp_path_factory.mktemp("suite"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def done(home: Home, checkpoints: tuple[Path, Path], suite: Path) -> Evaluated:
    return run(home, checkpoints[0], suite)


def test_videos_are_made_judged_and_recorded(
    done: Evaluated, home: Home, checkpoints: tuple[Path, Path]
) -> None:
    assert done.complete
    assert done.made == 4
    coarse, fine = done.evaluation.variants
    assert (coarse.label, fine.label) == (COARSE, FINE)
    assert coarse.total is None
    assert set(coarse.metrics) == set(MetricsConfig(profile="proxy").chosen)
    for video in done.evaluation.videos:
        path = home.generated / video.key / "video.mp4"
        assert hashlib.sha256(path.read_bytes()).hexdigest() == video.sha256
        assert sum(1 for _ in Film(path).frames(threads=1)) == FRAMES == video.frames
        assert not list(path.parent.glob("*.nodes"))
        assert video.cost.seconds is not None
        assert video.cost.seconds >= (video.cost.first_segment_seconds or 0) > 0
    # 13 frames of the root are 4 latents, as are 25 frames of each half at 12 fps 7; two forwards.
    forward = [flops.exact(presets.tiny(), n, HEIGHT, WIDTH, TEXT) for n in (4, 4, 7)]
    assert coarse.cost.petaflops == 2 * (50 * forward[0] + 2 * 30 * forward[2]) / 1e15
    with Catalog.open(home.catalog()) as catalog:
        rows = catalog.rows(EvaluationRow, {"evaluation_id": done.evaluation.id})
        runs = [row for row in catalog.rows(RunRow) if row.kind == "evaluate"]
    assert {(row.schedule, row.frames, row.videos) for row in rows} == {
        (COARSE, FRAMES, 2), (FINE, FRAMES, 2)
    }  # fmt: skip
    assert {row.profile for row in rows} == {"proxy"}
    assert json.loads(rows[0].metrics)["proxy_dynamic_degree"].keys() == {"mean", "low", "high"}
    assert (home.root / rows[0].uri / "report.html").is_file()
    assert rows[0].checkpoint == str(checkpoints[0] / "generator")
    assert runs[0].status == "ok"
    assert len(done.evaluation.table()) == 2
    judge = done.evaluation.origin.metrics["proxy_dynamic_degree"]
    assert (judge.version, judge.weights) == (VERSIONS["proxy_dynamic_degree"].version, {})
    assert judge.fingerprint in done.page.read_text()


def test_again_makes_nothing_and_another_schedule_only_its_own(
    done: Evaluated, home: Home, checkpoints: tuple[Path, Path], suite: Path
) -> None:
    # The generator's own folder is the same checkpoint.
    again = run(home, checkpoints[0] / "generator", suite)
    assert again.made == 0
    assert lasting(again) == lasting(done)
    assert read_evaluation(home, "latest") == again.evaluation
    assert read_evaluation(home, "latest").measures == MetricsConfig(profile="proxy").chosen
    with Catalog.open(home.catalog()) as catalog:
        assert len(catalog.rows(EvaluationRow, {"evaluation_id": done.evaluation.id})) == 2
    wider = dataclasses.replace(CONFIG, schedules=(*CONFIG.schedules, "f(24)m(1)"))
    prepared = prepare(EvaluateRequest(wider, checkpoints[0], str(suite)), home)
    assert [cell.variant for cell in prepared.missing(home)] == [2, 2]
    assert prepared.id != done.evaluation.id


def test_a_video_is_continued_from_one_that_is_kept(
    done: Evaluated, home: Home, checkpoints: tuple[Path, Path], suite: Path
) -> None:
    further = dataclasses.replace(CONFIG, schedules=(COARSE,), continued=(0, 16))
    found = run(home, checkpoints[0], suite, further)
    assert found.made == 2
    short, long = found.evaluation.variants
    assert (short.label, long.label) == (f"{COARSE}, not continued", f"{COARSE}, +16")
    assert long.cost.petaflops > short.cost.petaflops
    assert {v.frames for v in found.evaluation.videos if v.variant == 1} == {FRAMES + 16}
    known = {video.key for video in done.evaluation.videos}
    assert {v.key for v in found.evaluation.videos if v.variant == 0} <= known


def test_another_checkpoint_is_held_against_the_first(
    done: Evaluated, home: Home, checkpoints: tuple[Path, Path], suite: Path
) -> None:
    one = dataclasses.replace(CONFIG, schedules=(FINE,))
    other = run(home, checkpoints[1], suite, one, LocalEngine(1))
    assert other.made == 2
    written = write_report(home, other.evaluation.id, done.evaluation.id)
    assert written.videos == 6
    page = Path(written.page).read_text()
    assert "A minus B" in page
    assert f"B: {COARSE}" in page
    with pytest.raises(EvaluationError, match="several evaluations begin with 'tiny-'"):
        write_report(home, "tiny-", None)
    with pytest.raises(EvaluationError, match="no evaluation begins with 'x'"):
        write_report(home, "x", None)


def test_a_failure_costs_itself_and_asking_again_mends_it(
    done: Evaluated, tmp_path: Path, checkpoints: tuple[Path, Path], suite: Path
) -> None:
    home = Home(tmp_path)
    key = done.evaluation.videos[1].key
    home.generated.mkdir()
    (home.generated / key).write_text("in the way")
    broken = run(home, checkpoints[0], suite)
    assert not broken.complete
    assert broken.made == 3
    (failure,) = broken.evaluation.failures
    assert (failure.prompt, failure.label, failure.what) == ("red", FINE, "video")
    assert "exists" in failure.message
    assert [row.videos for row in broken.evaluation.variants] == [2, 1]
    with Catalog.open(home.catalog()) as catalog:
        assert catalog.rows(EvaluationRow) == []
        assert [row.status for row in catalog.rows(RunRow)] == ["failed"]
    (home.generated / key).unlink()
    mended = run(home, checkpoints[0], suite)
    assert mended.made == 1
    assert lasting(mended) == lasting(done)


def test_a_metric_that_cannot_judge_costs_itself(
    tmp_path: Path, checkpoints: tuple[Path, Path], suite: Path
) -> None:
    home = Home(tmp_path)
    single = dataclasses.replace(CONFIG, schedules=("f(24)m(1)",), frames=(1,))
    found = run(home, checkpoints[0], suite, single).evaluation
    (row,) = found.variants
    assert set(row.metrics) == {"proxy_imaging_quality", "proxy_aesthetic_quality"}
    assert {failure.what for failure in found.failures} == {
        "proxy_subject_consistency", "proxy_background_consistency", "proxy_motion_smoothness",
        "proxy_dynamic_degree",
    }  # fmt: skip
    assert len(found.failures) == 8
    only = MetricsConfig(profile="proxy", dimensions=("proxy_motion_smoothness",))
    nothing = dataclasses.replace(single, metrics=only)
    with pytest.raises(EvaluationError, match=r"nothing could be judged: .* at least 3 are needed"):
        run(home, checkpoints[0], suite, nothing)
    with Catalog.open(home.catalog()) as catalog:
        assert {row.status for row in catalog.rows(RunRow)} == {"failed"}


def test_a_killed_run_is_finished_by_the_next(
    done: Evaluated, tmp_path: Path, checkpoints: tuple[Path, Path], suite: Path
) -> None:
    home = Home(tmp_path)
    process = subprocess.Popen(
        [
            sys.executable, "-m", "tests.pipelines.process_for_evaluation", str(tmp_path),
            str(checkpoints[0]), str(suite),
        ],
        cwd=REPOSITORY,
    )  # fmt: skip
    # Inside of a video: some of its nodes are there, and it is not.
    while not list(home.generated.glob("*/*.nodes/*/*.safetensors")):
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    begun = len(list(home.generated.glob("*/cell.json")))
    assert begun < 4
    # Killed once more, between a video's record and the end of its latents.
    left = home.generated / done.evaluation.videos[0].key / "video.nodes"
    finished = run(home, checkpoints[0], suite)
    assert finished.made == 4 - begun
    assert lasting(finished) == lasting(done)
    # What a video took is not known where its making was interrupted.
    assert [video.cost.seconds for video in finished.evaluation.videos].count(None) <= 1
    left.mkdir()
    (left / "a.safetensors").write_bytes(b"latents")
    assert run(home, checkpoints[0], suite).made == 0
    assert not left.exists()


def test_ranks_share_a_video_and_give_its_bits(
    done: Evaluated, tmp_path: Path, checkpoints: tuple[Path, Path]
) -> None:
    suite = tmp_path / "one.jsonl"
    suite.write_text(json.dumps(WORDS))
    spread = dataclasses.replace(
        CONFIG, schedules=(FINE,), resources=dataclasses.replace(CONFIG.resources, ranks=2)
    )
    found = run(Home(tmp_path), checkpoints[0], suite, spread, LocalEngine(1)).evaluation
    (shared,) = found.videos
    alone = next(v for v in done.evaluation.videos if (v.prompt, v.variant) == ("words", 1))
    assert (shared.key, shared.sha256, shared.metrics) == (alone.key, alone.sha256, alone.metrics)
    # One prompt cannot tell how others differ, and nothing that people read pretends to.
    (row,) = table_words(found)
    assert row["proxy_imaging_quality"].endswith("(one prompt: no interval)")
    assert found.table()[0]["proxy_imaging_quality low"] is None


class Wordless(SerialEngine):
    """An engine whose workers run out of memory while they load, as Python tells it: wordless."""

    def map(self, stage: Any, items: Any) -> Any:  # noqa: ARG002 - an Engine
        raise StageSetupError(f"stage {stage.name!r}: MemoryError: ") from MemoryError()


def test_why_nothing_can_be_made_is_never_empty(
    tmp_path: Path, checkpoints: tuple[Path, Path], suite: Path
) -> None:
    with pytest.raises(EvaluationError, match=r"no video can be made: .*'make videos': MemoryErr"):
        run(Home(tmp_path), checkpoints[0], suite, engine=Wordless())


def test_a_suite_of_a_dataset_is_what_the_checkpoint_was_trained_on(
    tmp_path: Path, checkpoints: tuple[Path, Path]
) -> None:
    from pipelines.curate import curate

    home = Home(tmp_path / "home")
    films = tiny_library.render(tmp_path / "films")
    summary = curate(
        tiny_library.request(films, "split.val_share=0.3"), home, SerialEngine(), Silence()
    )
    assert summary.dataset is not None
    suite, path = dataset_suite(home, "tiny", FromDataset(prompts=3, every=24))
    assert suite.name == "tiny@1"
    assert len(suite.prompts) == 3
    for prompt in suite.prompts:
        assert prompt.text
        assert prompt.image is not None
        with Image.open(prompt.image) as picture:
            assert picture.size == (tiny_library.WIDTH, tiny_library.HEIGHT)
    first, *_, third = suite.prompts
    assert first.id.endswith("-0000")
    assert third.id.endswith("-0024") or third.id[:8] != first.id[:8]
    before = path.read_bytes()
    assert dataset_suite(home, "tiny@1", FromDataset(prompts=3, every=24))[1].read_bytes() == before
    request = EvaluateRequest(CONFIG, checkpoints[0])
    with pytest.raises(ValueError, match="name a manifest or a dataset"):
        prepare(request, home)
    with Catalog.open(home.catalog()) as catalog:
        catalog.append("checkpoints", [checkpoint_row(checkpoints[0])])
    prepared = prepare(request, home)
    assert prepared.suite.name == "tiny@1"
    assert prepared.checkpoint_id == "c1"


def checkpoint_row(folder: Path) -> CheckpointRow:
    return CheckpointRow(
        checkpoint_id="c1", training="debug", stage="stage_1", recipe="r", step=1,
        uri=str(folder), generator_uri=str(folder / "generator"), dataset="tiny", version=1,
        dataset_seconds=9.0, parent=None, seed=0, world_size=1, val_loss=None, weights_sha256="0",
        config="{}", code_version="0", run_id="r", recorded_at=now(),
    )  # fmt: skip


def ask(home: Path, checkpoint: Path, suite: Path, *more: str) -> Ended:
    return tempo(
        "evaluate", "evaluate_debug_cpu", "--checkpoint", str(checkpoint), "--suite", str(suite),
        "--home", str(home), *more,
    )  # fmt: skip


def test_the_table_is_printed(
    done: Evaluated, home: Home, checkpoints: tuple[Path, Path], suite: Path
) -> None:
    asked = ask(home.root, checkpoints[0], suite, *SETTINGS)  # all videos are there
    assert asked.returncode == 0, asked.stderr
    words = asked.stdout
    assert "they are not VBench's metrics" in words.replace("\n", " ")
    for row in done.evaluation.variants:
        assert row.label in words
        for found in row.metrics.values():
            assert f"{found.mean:.2f} ({found.low:.1f}…{found.high:.1f})" in words
    assert "no difference is resolved" in words  # two prompts prove nothing


def test_a_dry_run_makes_nothing(
    tmp_path: Path, checkpoints: tuple[Path, Path], suite: Path
) -> None:
    asked = ask(tmp_path, checkpoints[0], suite, "--dry-run", "--json", *SETTINGS)
    assert asked.returncode == 0, asked.stderr
    plan = json.loads(asked.stdout.splitlines()[-1])
    assert [(row["schedule"], row["missing"]) for row in plan["variants"]] == [
        (COARSE, 2), (FINE, 2)
    ]  # fmt: skip
    assert all(row["petaflops"] > 0 for row in plan["variants"])
    # What a table would cost can be asked where its metrics cannot run.
    asked = ask(
        tmp_path, checkpoints[0], suite, "--dry-run", "--json", "--set", "metrics.profile=plain"
    )
    assert asked.returncode == 1
    document = json.loads(asked.stdout.splitlines()[-1])
    assert document["metrics"] == []
    assert document["variants"][0]["missing_petaflops"] > 0
    assert not (tmp_path / "generated").exists()
    assert not (tmp_path / "runs").exists()


def test_other_videos_are_another_evaluation(
    tmp_path: Path, checkpoints: tuple[Path, Path], suite: Path
) -> None:
    """Also where it is the machine that makes them others."""
    machines: list[dict[str, Any]] = [{}, {"tiling": True}, {"device": "cuda"}, {"memory_gib": 9.0}]
    plain, *others, roomy = (
        prepare(EvaluateRequest(config, checkpoints[0], str(suite)), Home(tmp_path))
        for config in (
            dataclasses.replace(CONFIG, resources=dataclasses.replace(CONFIG.resources, **machine))
            for machine in machines
        )
    )
    assert all(other.id != plain.id for other in others)
    assert (roomy.id, roomy.cells) == (plain.id, plain.cells)


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_recipes_are_named_as_they_are_and_plan(
    recipe: str, tmp_path: Path, checkpoints: tuple[Path, Path], suite: Path
) -> None:
    """Every schedule, length, number of steps and continuation, in small pictures on a laptop."""
    config = RECIPES[recipe]()
    assert config.recipe == recipe
    small = dataclasses.replace(config, metrics=CONFIG.metrics, sampler=CONFIG.sampler)
    home = Home(tmp_path)
    prepared = prepare(EvaluateRequest(small, checkpoints[0], str(suite)), home)
    asked = len(config.variants) * len(config.seeds) * 2
    assert len({cell.key for cell in prepared.cells}) == len(prepared.missing(home)) == asked
    assert min(prepared.petaflops) > 0


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--checkpoint", "nowhere"), "no such folder"),
        (("--suite", "nowhere.jsonl"), "no such file"),
        (("--suite", "nothing@1"), "nothing"),
        (("--seeds", "1;2"), "whole numbers"),
        (("--seeds", "1,1"), "each once"),
        (("--schedules", "f(6,9)m(1,2)"), "higher multiple"),
        (("--set", 'steps=["a"]'), "a number for each level"),
        (("--set", "sampler.width=100"), "multiple of 16"),
        (("--set", "sampler.guidance=5,5"), "one for each of the"),
        (("--set", "metrics.profile=best"), "metrics.profile=best"),
        (("--set", "metrics.profile=plain"), "missing"),
    ],
)
def test_hostile_input(
    tmp_path: Path,
    checkpoints: tuple[Path, Path],
    suite: Path,
    more: tuple[str, ...],
    message: str,
) -> None:
    asked = ask(tmp_path, checkpoints[0], suite, *more)
    assert asked.returncode == 1
    assert message in asked.stderr.replace("\n", " ")
    assert not (tmp_path / "generated").exists()


def test_an_unknown_recipe_and_run_are_named(
    tmp_path: Path, checkpoints: tuple[Path, Path]
) -> None:
    asked = tempo("evaluate", "evaluate_table2", "--checkpoint", str(checkpoints[0]))
    assert asked.returncode == 1
    assert "evaluate_table3" in asked.stderr
    asked = tempo("report-eval", "latest", "--home", str(tmp_path))
    assert asked.returncode == 1
    assert "no catalog is kept there" in asked.stderr
