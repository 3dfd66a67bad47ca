"""`ocnet-convert` compared with the authors' networks, reimplemented in `authors_network.py`."""

import pickle
import shlex
from pathlib import Path
from typing import Any

import authors_network
import numpy as np
import pytest
import torch
from conftest import Main
from omegaconf import OmegaConf
from torch import Tensor

import ocnet_pl
from ocnet_pl.build import build_data, build_module, build_network
from ocnet_pl.config.compose import compose
from ocnet_pl.run.trainer import build_trainer
from ocnet_pl.tools.convert.naming import INPUTS, LAYOUTS

SMALL = (
    "+model.backbone.layers=[1,1,6,1]", "+model.backbone.channels=[8,8,16,32]", "+model.backbone.stem_width=8",
    "model.auxiliary_channels=8", "model.head.out_channels=16",
)  # fmt: skip
"""The default widths of `authors_network.Network`."""

WIDTHS = {
    "asp_oc_2019": ("model.head.reduction_channels=16", "model.head.branch_channels=8", "model.head.key_channels=4")
}

IMAGE = torch.randint(0, 256, (2, 3, 64, 96), generator=torch.Generator().manual_seed(7), dtype=torch.uint8)
"""Even sides: the stem's pool shows whether it rounds up."""


def small(head: str) -> tuple[str, ...]:
    return SMALL + WIDTHS.get(head, ())


def authors(form: str, **widths: Any) -> authors_network.Network:
    torch.manual_seed(3)
    network = authors_network.Network(form, **widths)
    authors_network.calibrate(network, network)
    return network


def saved(network: torch.nn.Module, path: Path) -> Path:
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture
def base_oc(workplace: Path) -> Path:
    """A small Base-OC of the authors."""
    return saved(authors("base_oc"), workplace / "base_oc.pth")


def assert_same(ours: Tensor, theirs: Tensor) -> None:
    assert ours.shape == theirs.shape
    assert theirs.std() > 0.05, "nearly constant logits would prove nothing"
    assert (ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()


def assert_predicts_the_same(checkpoint: Path, network: authors_network.Network, how: str, image: Tensor) -> None:
    converted = ocnet_pl.load(checkpoint).network
    with torch.no_grad():
        auxiliary, main = network(authors_network.fed(image, how))
        ours, our_auxiliary = converted.supervised(image)[:2]
        assert_same(ours, main)
        assert_same(our_auxiliary, auxiliary)
        assert_same(converted(image), main)


@pytest.mark.parametrize(
    ("form", "how"),
    [
        ("base_oc", "bgr"),
        ("base_oc", "oc"),
        ("asp_oc", "bgr"),
        ("asp_oc_2019", "bgr"),
        ("asp_oc_2019", "oc"),
        ("pyramid_oc", "bgr"),
        ("pyramid_oc_in_context", "bgr"),
    ],
)
def test_a_converted_network_gives_the_same_predictions(workplace: Path, call: Main, form: str, how: str) -> None:
    head = form.removesuffix("_in_context")
    network = authors(form)
    source = saved(network, workplace / "theirs.pth")
    assert call("convert", str(source), "--head", head, "--input", how, "ours.ckpt", *small(head)) == 0
    assert_predicts_the_same(workplace / "ours.ckpt", network, how, IMAGE)


@pytest.mark.parametrize(
    ("golden", "head", "module"),
    [
        ("base_oc", "base_oc", "context.2"),
        ("asp_oc_paper", "asp_oc", "context"),
        ("asp_oc_release", "asp_oc_2019", "context.2"),
        ("pyramid_oc", "pyramid_oc", "context"),
    ],
)
def test_names_are_those_of_the_released_modules(golden: str, head: str, module: str) -> None:
    with np.load(Path(__file__).parents[1] / "golden" / f"{golden}.npz") as file:
        released = {name.removeprefix("param/") for name in file.files if name.startswith("param/")}
    around = {"context.0", "context.1"} if module == "context.2" else {"layer5.0", "layer5.1"}
    known = set(LAYOUTS[head][0].modules.values()) - around - {"cls", "dsn.0", "dsn.1", "dsn.3"}
    assert known == {f"{module}.{name.rpartition('.')[0]}" for name in released if ".f_query." not in name}


def test_a_norm_keeps_the_magnitude_of_its_scale(workplace: Path, call: Main, base_oc: Path) -> None:
    call("convert", str(base_oc), "--head", "base_oc", "ours.ckpt", *SMALL)
    theirs, ours = torch.load(base_oc, weights_only=True), ocnet_pl.load("ours.ckpt").network.state_dict()
    for name, their_name in (("backbone.bn1", "bn3"), ("head.pool.key.1", "context.2.stages.0.f_key.1")):
        assert (theirs[f"{their_name}.weight"] < 0).any()
        torch.testing.assert_close(
            ours[f"{name}.weight"], theirs[f"{their_name}.weight"].abs() + 1e-5, rtol=0, atol=1e-7
        )
        assert ours[f"{name}.bias"].equal(theirs[f"{their_name}.bias"])


def test_the_input_normalisation_changes_the_logits(workplace: Path, call: Main, base_oc: Path) -> None:
    for how in ("bgr", "oc"):
        call("convert", str(base_oc), "--head", "base_oc", "--input", how, f"{how}.ckpt", *SMALL)
    with torch.no_grad():
        bgr, oc = (ocnet_pl.load(f"{how}.ckpt").network(IMAGE) for how in ("bgr", "oc"))
    assert (bgr - oc).abs().max() > 1e-2


@pytest.mark.slow
def test_a_full_resnet101_gives_the_same_predictions(
    workplace: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    network = authors("asp_oc_2019", blocks=(3, 4, 23, 3), stem=64, planes=(64, 128, 256, 512), out=512, auxiliary=512)
    source = saved(network, workplace / "CS_scenes_40000.pth")
    assert call("convert", str(source), "--head", "asp_oc_2019", "ours.ckpt") == 0
    out = capsys.readouterr().out
    assert "asp_oc_2019 on resnet101s, classes: 19 (cityscapes)" in out
    assert "ocnet-evaluate checkpoint=ours.ckpt dataset.root=DIR" in out
    image = torch.randint(0, 256, (1, 3, 65, 97), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    assert_predicts_the_same(workplace / "ours.ckpt", network, "bgr", image)


def _data_parallel(state: dict[str, Tensor]) -> Any:
    return {f"module.{name}": tensor for name, tensor in state.items()}


def _nested(state: dict[str, Tensor]) -> Any:
    return {"state_dict": state, "iteration": 40000}


def _without_second_names(state: dict[str, Tensor]) -> Any:
    return {name: tensor for name, tensor in state.items() if ".f_query." not in name}


def _with_counters(state: dict[str, Tensor]) -> Any:
    counters = {n.replace("running_mean", "num_batches_tracked"): torch.tensor(5) for n in state if "running_m" in n}
    return state | counters


@pytest.mark.parametrize("form", [_data_parallel, _nested, _without_second_names, _with_counters])
@pytest.mark.parametrize("zipped", [True, False])
def test_variants_of_the_file_format_are_read(workplace: Path, call: Main, form: Any, zipped: bool) -> None:
    network = authors("base_oc")
    torch.save(form(network.state_dict()), workplace / "theirs.pth", _use_new_zipfile_serialization=zipped)
    assert call("convert", "theirs.pth", "--head", "base_oc", "ours.ckpt", *SMALL) == 0
    assert_predicts_the_same(workplace / "ours.ckpt", network, "bgr", IMAGE)


def test_overrides_set_what_the_file_does_not_contain(workplace: Path, call: Main) -> None:
    network = authors("base_oc", downsample=2)
    source = saved(network, workplace / "theirs.pth")
    assert call("convert", str(source), "--head", "base_oc", "ours.ckpt", *SMALL, "model.head.downsample=2") == 0
    assert_predicts_the_same(workplace / "ours.ckpt", network, "bgr", IMAGE)


def test_a_converted_checkpoint_is_tested_like_any_other(
    workplace: Path, call: Main, base_oc: Path, cityscapes_tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call("convert", str(base_oc), "--head", "base_oc", "ours.ckpt", *SMALL)
    code = call(
        "evaluate", "checkpoint=ours.ckpt", f"dataset.root={cityscapes_tree}", "dataset.num_workers=0",
        "trainer=cpu", "trainer.enable_progress_bar=false",
    )  # fmt: skip
    assert code == 0
    assert "mIoU" in capsys.readouterr().out


def test_lightning_reads_a_converted_checkpoint(
    workplace: Path, call: Main, base_oc: Path, cityscapes_tree: Path
) -> None:
    call("convert", str(base_oc), "--head", "base_oc", "ours.ckpt", *SMALL, f"dataset.root={cityscapes_tree}")
    content = torch.load("ours.ckpt", weights_only=True)
    assert content["converted"] == {"file": "base_oc.pth", "input": "bgr"}
    assert content["choices"]["model/head"] == "base_oc"
    config = OmegaConf.create(content["config"])
    config.dataset.num_workers = 0
    config.trainer.update(accelerator="cpu", enable_progress_bar=False)
    data = build_data(config)
    module = build_module(config, data)
    trainer = build_trainer(config, [], False, workplace)
    data.trainer = trainer
    trainer.test(module, data.evaluation_dataloader("val"), ckpt_path="ours.ckpt", verbose=False, weights_only=True)
    assert module.network.classifier.weight.equal(torch.load(base_oc, weights_only=True)["cls.weight"])


def _partial(state: dict[str, Tensor]) -> Any:
    return {name: tensor for name, tensor in state.items() if not name.startswith("layer4.")}


def _extra(state: dict[str, Tensor]) -> Any:
    return state | {"layer6.weight": torch.zeros(1)}


def _other_widths(state: dict[str, Tensor]) -> Any:
    return state | {"context.2.stages.0.W.weight": torch.zeros(16, 3, 1, 1)}


def _own_query(state: dict[str, Tensor]) -> Any:
    return state | {"context.2.stages.0.f_query.0.bias": torch.full((8,), 9.0)}


@pytest.mark.parametrize(
    ("form", "words"),
    [
        (_partial, "20 missing (layer4.0.conv1.weight, layer4.0.bn1.weight, layer4.0.bn1.bias, "),
        (_partial, "layer4.0.bn1.running_mean, layer4.0.bn1.running_var, ...)"),
        (_extra, "1 unexpected (layer6.weight)"),
        (_other_widths, "1 of another shape (context.2.stages.0.W.weight 16x3x1x1, not 16x8x1x1)"),
        (_own_query, "context.2.stages.0.f_query.0.bias differs from f_key"),
        (lambda state: {"a": torch.zeros(2)}, "1 unexpected (a)"),
        (lambda state: {}, "contains no named weights"),
        (lambda state: torch.zeros(2), "contains no named weights"),
        (lambda state: {"epoch": 3, "model": "resnet"}, "contains no named weights"),
    ],
)  # fmt: skip
def test_another_network_is_rejected(
    workplace: Path, call: Main, capsys: pytest.CaptureFixture[str], form: Any, words: str
) -> None:
    torch.save(form(authors("base_oc").state_dict()), "theirs.pth")
    assert call("convert", "theirs.pth", "--head", "base_oc", "ours.ckpt", *SMALL) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith("ocnet-convert: error: theirs.pth: ")
    assert words in error
    assert sorted(p.name for p in workplace.iterdir()) == ["theirs.pth"]


WRONG_HEADS = [("asp_oc", "asp_oc_2019"), ("base_oc", "asp_oc"), ("asp_oc_2019", "base_oc"), ("pyramid_oc", "base_oc")]


@pytest.mark.parametrize(("form", "head"), WRONG_HEADS)
def test_the_error_suggests_the_right_head(
    workplace: Path, call: Main, capsys: pytest.CaptureFixture[str], form: str, head: str
) -> None:
    source = saved(authors(form), workplace / "theirs.pth")
    assert call("convert", str(source), "--head", head, "ours.ckpt", *small(head)) == 2
    assert capsys.readouterr().err.rstrip().endswith(f"its names fit --head {form}")


class Trap:
    """Object that must not be unpickled."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("trapped"),)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", pickle.dumps(Trap()), b"PK\x03\x04 half a zip"])
def test_a_file_that_is_not_a_checkpoint_is_rejected(
    workplace: Path, call: Main, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    Path("theirs.pth").write_bytes(content)
    assert call("convert", "theirs.pth", "--head", "base_oc", "ours.ckpt") == 2
    assert "not a checkpoint, damaged" in capsys.readouterr().err
    assert sorted(p.name for p in workplace.iterdir()) == ["theirs.pth"]


def test_a_missing_file_is_reported(workplace: Path, call: Main, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("convert", "theirs.pth", "--backbone", "ours.pth") == 2
    assert capsys.readouterr().err == "ocnet-convert: error: theirs.pth: no such file\n"


@pytest.mark.parametrize("way", [("--head", "base_oc"), ("--backbone",)])
def test_nothing_is_overwritten(
    workplace: Path, call: Main, capsys: pytest.CaptureFixture[str], base_oc: Path, way: tuple[str, ...]
) -> None:
    Path("ours.ckpt").write_text("precious")
    assert call("convert", str(base_oc), *way, "ours.ckpt") == 2
    assert "ours.ckpt: already exists" in capsys.readouterr().err
    assert Path("ours.ckpt").read_text() == "precious"
    assert call("convert", str(base_oc), *way, "nowhere/ours.ckpt") == 2
    assert "folder nowhere does not exist" in capsys.readouterr().err


def test_another_number_of_classes_needs_its_data_set(
    workplace: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    source = saved(authors("base_oc", classes=7), workplace / "theirs.pth")
    assert call("convert", str(source), "--head", "base_oc", "ours.ckpt", *SMALL) == 2
    assert "has 7 classes; choose their data set: --dataset NAME with one of" in capsys.readouterr().err
    arguments = (str(source), "--head", "base_oc", "--dataset", "cityscapes", "ours.ckpt", *SMALL)
    assert call("convert", *arguments) == 2
    assert "has 7 classes, but --dataset cityscapes has 19" in capsys.readouterr().err
    arguments = (str(source), "--head", "base_oc", "--dataset", "folder", "ours.ckpt", *SMALL)
    assert call("convert", *arguments) == 2
    assert "dataset.classes" in capsys.readouterr().err
    assert call("convert", *arguments, "dataset.classes=[a,b,c,d,e,f,g]") == 0
    assert torch.load("ours.ckpt", weights_only=True)["classes"] == list("abcdefg")


@pytest.mark.parametrize("classifier", ["fc", "last_linear"])
def test_a_training_starts_from_the_imagenet_network(
    workplace: Path, call: Main, capsys: pytest.CaptureFixture[str], classifier: str
) -> None:
    torch.manual_seed(0)
    network = authors_network.ImageNetNetwork((3, 4, 6, 3), 64, (64, 128, 256, 512), classifier)
    authors_network.calibrate(network, network.features)
    source = saved(network, workplace / "resnet50-imagenet.pth")
    assert call("convert", str(source), "--backbone", "ours.pth") == 0
    told = capsys.readouterr().out.splitlines()[-1]
    assert "ocnet-train model/backbone=resnet50s model.backbone.weights=ours.pth model.bgr=true" in told
    ours = build_network(compose(*shlex.split(told)[1:], "model.head.out_channels=8"), 19).eval()
    with torch.no_grad():
        expected = network.features(authors_network.fed(IMAGE[:1], "bgr"))
        for got, want in zip(ours.backbone(ours.normalize(IMAGE[:1])), expected, strict=True):
            assert_same(got, want)


def test_a_partial_imagenet_network_is_rejected(
    workplace: Path, call: Main, capsys: pytest.CaptureFixture[str], base_oc: Path
) -> None:
    assert call("convert", str(base_oc), "--backbone", "ours.pth") == 2
    error = capsys.readouterr().err
    assert "not a network for --backbone (resnet50s)" in error
    assert "its names fit --head base_oc" in error
    partial = authors_network.Backbone((1, 1, 6, 1), 8, (8, 8, 16, 32))
    assert call("convert", str(saved(partial, workplace / "partial.pth")), "--head", "base_oc", "ours.ckpt") == 2
    assert "its names fit --backbone" in capsys.readouterr().err
    assert call("convert", str(workplace / "partial.pth"), "--backbone", "ours.pth") == 2
    assert "missing (layer1.1.conv1.weight" in capsys.readouterr().err
    assert call("convert", str(workplace / "partial.pth"), "--backbone", "ours.pth", "model.head.dropout=0") == 2
    assert "are for --head" in capsys.readouterr().err


def test_the_default_normalisation_is_that_of_the_pretrained_weights() -> None:
    config = compose("model/backbone=tiny", "model.head.out_channels=8", "model.auxiliary_channels=8")
    network = build_network(config, 19)
    assert (network.normalize.mean / 255).flatten().tolist() == pytest.approx(network.backbone.pretrained_cfg["mean"])
    assert (network.normalize.std / 255).flatten().tolist() == pytest.approx(network.backbone.pretrained_cfg["std"])
    assert not network.normalize.bgr


def test_help_lists_heads_inputs_and_examples(call: Main, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("convert", "--help") == 0
    out = capsys.readouterr().out
    for words in (*LAYOUTS, *INPUTS, "examples:", "ocnet-evaluate checkpoint=", "model.backbone.weights="):
        assert words in out
