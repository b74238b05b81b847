"""Checkpoints for generation: what is written loads, what is hostile is refused."""

import dataclasses
import json
import os
from pathlib import Path

import pytest
import torch
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from diffusers.pipelines.wan.pipeline_wan_i2v import WanImageToVideoPipeline
from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler

from model import presets, prompt_cache
from model.codec import WanCodec
from model.dct import DctCodec, Layout, standard_layout
from model.errors import CheckpointError, PromptCacheError
from model.generation import TreeGenerator
from model.generator_folder import (
    Adapter,
    CodecSpec,
    GeneratorSpec,
    Loading,
    TextSpec,
    generator_files,
    load_generator,
    read_network,
    read_spec,
    save_generator,
    warnings_of,
)
from model.lora import LoraSettings, add_lora, save_lora
from model.text import Umt5Encoder
from model.work import Execution
from tests.model.tiny import stock_twin, tiny_network
from tests.model.tiny_generator import tiny_request, video_of
from tests.model.tiny_wan import tiny_vae, tokenizer, umt5

BYTES = TextSpec("bytes", length=8, width=presets.tiny().text_dim)
DEBUG = GeneratorSpec(CodecSpec("dct"), BYTES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("checkpoint")
    save_generator(made, tiny_network(), DEBUG)
    return made


def test_what_is_written_loads(folder: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    assert read_spec(folder) == DEBUG
    assert read_network(folder) == presets.tiny()
    loaded = load_generator(folder, Loading(prompt_cache=tmp_path / "prompts"))
    assert loaded.size == presets.tiny()
    video = video_of(loaded.generate(tiny_request(17, schedule="f(24)m(1)", steps=(2,))))
    assert video.shape[1] == 17
    assert len(list((tmp_path / "prompts").rglob("*.safetensors"))) == 2
    assert WanTransformer3DModel.from_pretrained(folder / "transformer").config.num_layers == 2
    assert warnings_of(folder) == []


def test_what_is_read_is_listed(folder: Path, tmp_path: Path) -> None:
    named = [str(path.relative_to(folder)) for path in generator_files(folder)]
    weights = "transformer/diffusion_pytorch_model.safetensors"
    assert named == ["tempo.json", "transformer/config.json", weights]
    elsewhere = tmp_path / "wan"
    tiny_vae().save_pretrained(elsewhere / "vae")
    spec = GeneratorSpec(CodecSpec("wan", source=str(elsewhere)), BYTES)
    save_generator(tmp_path / "made", tiny_network(), spec)
    assert elsewhere / "vae" / "config.json" in generator_files(tmp_path / "made")


def test_an_autoencoder_beside_the_network(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    spec = GeneratorSpec(CodecSpec("wan"), BYTES)
    save_generator(tmp_path, tiny_network(), spec)
    with pytest.raises(CheckpointError, match="incomplete"):
        load_generator(tmp_path)
    tiny_vae().save_pretrained(tmp_path / "vae")
    loaded = load_generator(tmp_path, Loading(tiling=True))
    assert isinstance(loaded.codec, WanCodec)
    assert loaded.codec.vae.use_tiling
    request = tiny_request(33, schedule="f(12,24)m(1,2)", steps=(2, 2), given=(0,))
    video = video_of(loaded.generate(request, Execution(batch=1)))
    assert video.shape[1] == 33
    assert video.abs().max() <= 1


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """One entry for each time that a UMT5 is loaded."""
    seen: list[object] = []
    load = Umt5Encoder.load

    def counted(source: object, **options: object) -> Umt5Encoder:
        seen.append(source)
        return load(source, **options)

    monkeypatch.setattr(Umt5Encoder, "load", counted)
    return seen


@pytest.fixture
def prompted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a UMT5 whose files have not changed for a while."""
    torch.set_num_threads(1)
    made = tmp_path / "prompted"
    save_generator(made, tiny_network(), GeneratorSpec(CodecSpec("dct"), TextSpec("umt5", None, 8)))
    tokenizer().save_pretrained(made / "tokenizer")
    umt5().save_pretrained(made / "text_encoder")
    monkeypatch.setattr(prompt_cache, "_SETTLED_NS", 0)
    return made


SHORT = tiny_request(17, schedule="f(24)m(1)", steps=(1,))


def test_kept_prompts_spare_the_text_encoder(
    prompted: Path, loads: list[object], tmp_path: Path
) -> None:
    plain = video_of(load_generator(prompted).generate(SHORT))
    loading = Loading(prompt_cache=tmp_path / "prompts")
    loads.clear()
    first = load_generator(prompted, loading)
    assert torch.equal(video_of(first.generate(SHORT)), plain)
    assert len(loads) == 1
    again = load_generator(prompted, loading)
    assert torch.equal(video_of(again.generate(SHORT)), plain)
    assert again.fingerprint == first.fingerprint
    assert len(loads) == 1
    other = dataclasses.replace(SHORT, prompt="the red hill")
    found = video_of(again.generate(other))
    assert len(loads) == 2  # for the one that was missing, and only then
    assert torch.equal(found, video_of(load_generator(prompted).generate(other)))
    # In another dtype, or cut elsewhere, embeddings are others.
    load_generator(prompted, dataclasses.replace(loading, dtype=torch.bfloat16))
    assert len(loads) == 4


def test_exchanged_weights_are_noticed(prompted: Path, loads: list[object], tmp_path: Path) -> None:
    loading = Loading(prompt_cache=tmp_path / "prompts")
    before = load_generator(prompted, loading)
    list(before.generate(SHORT))
    weights = prompted / "text_encoder" / "model.safetensors"
    times, size = weights.stat(), weights.stat().st_size
    umt5(1).save_pretrained(tmp_path / "other")
    weights.write_bytes((tmp_path / "other" / "model.safetensors").read_bytes())
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert weights.stat().st_size == size
    after = load_generator(prompted, loading)
    assert len(loads) == 2
    assert after.text.fingerprint != before.text.fingerprint
    plain = video_of(load_generator(prompted).generate(SHORT))
    assert torch.equal(video_of(after.generate(SHORT)), plain)


def test_weights_exchanged_during_a_run_are_refused(prompted: Path, tmp_path: Path) -> None:
    loading = Loading(prompt_cache=tmp_path / "prompts")
    list(load_generator(prompted, loading).generate(SHORT))
    waiting = load_generator(prompted, loading)
    umt5(1).save_pretrained(prompted / "text_encoder")
    list(waiting.generate(SHORT))  # these are the old encoder's, and are under its name
    with pytest.raises(PromptCacheError, match=r"delete that file and run\s+again"):
        waiting.embed({"the hill"})


def test_files_that_changed_a_moment_ago_are_not_remembered(
    prompted: Path, loads: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompt_cache, "_SETTLED_NS", 3600 * 10**9)
    for _ in range(2):
        load_generator(prompted, Loading(prompt_cache=tmp_path / "prompts"))
    assert len(loads) == 2
    monkeypatch.setattr(prompt_cache, "_SETTLED_NS", 0)
    for _ in range(2):
        load_generator(prompted, Loading(prompt_cache=tmp_path / "prompts"))
    assert len(loads) == 3
    [remembered] = (tmp_path / "prompts" / "encoders").iterdir()
    remembered.write_text("{")
    load_generator(prompted, Loading(prompt_cache=tmp_path / "prompts"))
    assert len(loads) == 4


def test_a_wide_video_is_generated_in_tiles(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    save_generator(tmp_path, tiny_network(), GeneratorSpec(CodecSpec("wan"), BYTES))
    tiny_vae().save_pretrained(tmp_path / "vae")
    plan = tiny_request(17, schedule="f(12,24)m(1,2)", steps=(2, 2))
    wide = dataclasses.replace(plan, width=272)  # tiles are 256 wide, one every 192
    widths: dict[bool, set[int]] = {}
    videos: dict[bool, torch.Tensor] = {}
    for tiling in (False, True):
        loaded = load_generator(tmp_path, Loading(tiling=tiling))
        assert isinstance(loaded.codec, WanCodec)
        seen = widths.setdefault(tiling, set())
        loaded.codec.vae.decoder.register_forward_pre_hook(
            lambda _, given, seen=seen: seen.add(8 * given[0].shape[-1])
        )
        loaded.codec.vae.encoder.register_forward_pre_hook(
            lambda _, given, seen=seen: seen.add(given[0].shape[-1])
        )
        videos[tiling] = video_of(loaded.generate(wide, Execution(batch=1)))
    assert widths == {False: {272}, True: {256, 80}}
    assert videos[True].shape == videos[False].shape == (3, 17, 16, 272)
    apart = (videos[True] - videos[False]).abs()
    # The same picture, blended where tiles overlap, and moved by what a tile cannot see.
    assert 1e-4 < apart.mean() < 0.05 * videos[False].std()


def test_layouts_are_kept(tmp_path: Path) -> None:
    standard = standard_layout()
    layout = Layout(standard.coefficients, standard.mean, tuple(2 * s for s in standard.std))
    spec = GeneratorSpec(CodecSpec("dct", layout=layout), BYTES)
    save_generator(tmp_path, tiny_network(), spec)
    assert read_spec(tmp_path) == spec
    assert load_generator(tmp_path).codec.fingerprint == DctCodec(layout).fingerprint


def test_scales_are_kept_and_older_folders_mean_what_they_meant(tmp_path: Path) -> None:
    spec = GeneratorSpec(CodecSpec("dct", scale="pixels"), BYTES)
    save_generator(tmp_path, tiny_network(), spec)
    assert read_spec(tmp_path) == spec
    scaled = DctCodec(standard_layout("pixels")).fingerprint
    assert load_generator(tmp_path).codec.fingerprint == scaled != DctCodec().fingerprint
    path = tmp_path / "tempo.json"
    document = json.loads(path.read_text())
    del document["codec"]["scale"]  # as it was written before there were scales
    path.write_text(json.dumps(document))
    assert load_generator(tmp_path).codec.fingerprint == DctCodec().fingerprint
    for other in (CodecSpec("wan"), CodecSpec("dct", layout=standard_layout())):
        with pytest.raises(ValueError, match="only the dct codec's standard layout has one"):
            dataclasses.replace(other, scale="pixels")


def test_adapters_are_fused(folder: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    network = tiny_network()
    add_lora(network, LoraSettings(rank=2, alpha=2))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "lora_B" in name:
                parameter.normal_(generator=torch.Generator().manual_seed(len(name)))
    file = save_lora(network, tmp_path)
    plain, adapted, none = (
        load_generator(folder, Loading(adapters=adapters))
        for adapters in ((), (Adapter(file),), (Adapter(file, 0.0),))
    )
    request = tiny_request(17, schedule="f(24)m(1)", steps=(2,))
    one, other, same = (video_of(g.generate(request)) for g in (plain, adapted, none))
    assert (one - other).abs().max() > 1e-3
    torch.testing.assert_close(one, same, rtol=0, atol=1e-6)
    assert plain.fingerprint != adapted.fingerprint


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), -float("inf")])
def test_adapters_have_a_weight_that_is_a_number(weight: float) -> None:
    with pytest.raises(ValueError, match=r"weight=.* of style\.safetensors: .*give a number"):
        Adapter(Path("style.safetensors"), weight)


def test_a_released_folder_generates(tmp_path: Path) -> None:
    """Written by diffusers itself, as Wan's were."""
    torch.set_num_threads(1)
    WanImageToVideoPipeline(
        tokenizer=tokenizer(),
        text_encoder=umt5(),
        vae=tiny_vae(),
        scheduler=UniPCMultistepScheduler(),
        transformer=stock_twin(tiny_network()),
        boundary_ratio=None,
    ).save_pretrained(tmp_path)
    written = {path.name for path in tmp_path.iterdir()}
    assert written >= {"model_index.json", "transformer", "vae", "text_encoder", "tokenizer"}
    loaded = load_generator(tmp_path)
    text = Umt5Encoder(tokenizer(), umt5(), length=512)
    parts = TreeGenerator(tiny_network(), WanCodec(tiny_vae()), text)
    assert loaded.fingerprint == parts.fingerprint
    request = tiny_request(9, schedule="f(12,24)m(1,2)", steps=(1, 1), given=(0,))
    one, other = (video_of(generator.generate(request)) for generator in (loaded, parts))
    # Weights that lie elsewhere in memory are multiplied with other last bits.
    torch.testing.assert_close(one, other, rtol=0, atol=1e-5)
    assert one.std() > 0.01


def test_a_released_folder(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "transformer").mkdir()
    (tmp_path / "transformer_2").mkdir()
    config = folder / "transformer" / "config.json"
    (tmp_path / "transformer" / "config.json").write_bytes(config.read_bytes())
    (tmp_path / "model_index.json").write_text("{}")
    assert read_spec(tmp_path) == GeneratorSpec(CodecSpec("wan"), TextSpec("umt5"), 81)
    assert "high noise only" in warnings_of(tmp_path)[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "neither tempo.json nor model_index.json"),
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        (json.dumps({"format": 9}), "another version"),
        (json.dumps({"format": 1, "codec": {"kind": "jpeg"}}), "cannot be read"),
        (json.dumps({"format": 1, "codec": {"kind": "dct"}, "text": {"kind": "bytes"}}), "width"),
    ],
)
def test_hostile_descriptions(
    folder: Path, tmp_path: Path, content: str | None, message: str
) -> None:
    (tmp_path / "transformer").mkdir()
    config = folder / "transformer" / "config.json"
    (tmp_path / "transformer" / "config.json").write_bytes(config.read_bytes())
    if content is not None:
        (tmp_path / "tempo.json").write_text(content)
    with pytest.raises(CheckpointError, match=message):
        read_spec(tmp_path)


def test_missing_folders(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no such folder"):
        read_spec(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"transformer/config\.json"):
        read_spec(tmp_path)


def test_text_of_another_width_is_refused(tmp_path: Path) -> None:
    spec = GeneratorSpec(CodecSpec("dct"), TextSpec("bytes", length=8, width=5))
    save_generator(tmp_path, tiny_network(), spec)
    with pytest.raises(ValueError, match="use the encoder that it was trained with"):
        load_generator(tmp_path)
