"""Exported networks answer as the network does, at any size, and say what they cannot do."""

import json
from importlib import util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Main, checkpoint
from torch import nn
from torch.torch_version import TorchVersion

import ocnet_pl
from ocnet_pl.build import build_network
from ocnet_pl.config.compose import compose
from ocnet_pl.errors import UserError
from ocnet_pl.tools.export import NEEDED, OLDEST_TORCH
from ocnet_pl.tools.export.exporting import CHECKED, TOLERANCE, largest_difference, largest_map
from ocnet_pl.tools.export.formats import FORMATS

EXPORTED = {
    ".onnx": ("baseline", "ppm", "base_oc", "asp_oc", "isa"),
    ".pt2": ("base_oc", "asp_oc", "isa"),
}
"""Heads by format: a stack of convolutions, pooling to cells, attention, padding to blocks. Each takes seconds."""


exports = pytest.mark.skipif(torch.__version__ < OLDEST_TORCH, reason="this torch exports no network for any size")


def network_of(head: str, *overrides: str) -> nn.Module:
    """A narrow network with random statistics, in which every part contributes to the logits."""
    config = compose(f"model/head={head}", "dataset=demo", "model/backbone=tiny", *overrides)
    if "out_channels" in config.model.head:
        config.model.head.out_channels = 8
    tree = {"flat": (0, 1), "other": (2, 3, 4)}
    network = build_network(config, 5, auxiliary=False, class_tree=tree)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
            if tensor.is_floating_point() and name.endswith(("bias", "gamma", "running_mean", "project.weight")):
                tensor.copy_(0.2 * torch.randn(tensor.shape, generator=generator))
    return network.eval()


@exports
@pytest.mark.parametrize(("suffix", "head"), [(suffix, head) for suffix, of in EXPORTED.items() for head in of])
def test_a_file_answers_as_the_network_at_any_size(suffix: str, head: str) -> None:
    for module in NEEDED[suffix]:
        pytest.importorskip(module)
    network = network_of(head)
    content = FORMATS[suffix].export(network, torch.uint8, None, {})
    assert len({size for _, size in CHECKED}) == 3
    assert largest_difference(FORMATS[suffix].load(content), network, CHECKED, torch.uint8) <= TOLERANCE


@exports
@pytest.mark.parametrize("suffix", NEEDED)
def test_one_size_is_exported_where_no_other_fits(suffix: str) -> None:
    for module in NEEDED[suffix]:
        pytest.importorskip(module)
    network = network_of("psanet", "model.head.compact=true", "dataset.crop_size=[65,81]")
    with pytest.raises(UserError, match="one size"):
        FORMATS[suffix].export(network, torch.float32, None, {})
    content = FORMATS[suffix].export(network, torch.float32, (65, 81), {})
    checked = ((1, (65, 81)), (2, (65, 81)))
    assert largest_difference(FORMATS[suffix].load(content), network, checked, torch.float32) <= TOLERANCE


@exports
def test_a_command_writes_what_the_checkpoint_predicts(
    runs: Path, tmp_path: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = checkpoint(runs, "base_oc"), tmp_path / "base_oc.pt2"
    assert call("export", file, str(out), "--float") == 0
    assert str(out) in capsys.readouterr().out
    carried: dict[str, Any] = {"classes": "", "stored_ids": "", "head": ""}
    program = torch.export.load(out, extra_files=carried).module()
    predictor = ocnet_pl.load(file)
    image = np.random.default_rng(0).integers(256, size=(120, 144, 3), dtype=np.uint8)
    logits = program(torch.from_numpy(image).permute(2, 0, 1)[None].float())
    torch.testing.assert_close(logits[0], predictor.predict_logits(image), atol=1e-5, rtol=1e-4)
    assert json.loads(carried["classes"])[:2] == ["road", "building"]
    assert json.loads(carried["stored_ids"])[:2] == [7, 11]
    assert json.loads(carried["head"]) == "base_oc"


def refused(call: Main, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert call("export", *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("ocnet-export: error: ")
    return line


@exports
def test_a_file_is_replaced_on_request_only(
    runs: Path, tmp_path: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "kept.pt2"
    out.write_text("mine")
    assert "--force" in refused(call, capsys, checkpoint(runs, "baseline"), str(out))
    assert out.read_text() == "mine"
    assert call("export", checkpoint(runs, "baseline"), str(out), "--force", "--size", "96") == 0
    assert torch.export.load(out)


def test_what_cannot_be_written_is_said_in_one_line(
    runs: Path, tmp_path: Path, call: Main, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = checkpoint(runs, "baseline")
    assert ".pt2 or .onnx" in refused(call, capsys, file, str(tmp_path / "network.pth"))
    assert "no such file" in refused(call, capsys, "nowhere.ckpt", str(tmp_path / "network.pt2"))
    find_spec = util.find_spec
    monkeypatch.setattr("ocnet_pl.command.export.find_spec", lambda name: None if name == "onnx" else find_spec(name))
    assert "ocnet_pl[export]" in refused(call, capsys, file, str(tmp_path / "network.onnx"))
    assert not [*tmp_path.glob("network*")]


def test_an_older_torch_is_refused(
    runs: Path, tmp_path: Path, call: Main, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "__version__", TorchVersion("2.6.0"))
    line = refused(call, capsys, checkpoint(runs, "baseline"), str(tmp_path / "network.pt2"))
    assert "2.14" in line
    assert "2.6.0" in line
    assert not [*tmp_path.glob("network*")]


@exports
def test_a_file_with_other_logits_is_not_written(
    runs: Path, tmp_path: Path, call: Main, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    program = FORMATS[".pt2"]
    load = type(program).load
    monkeypatch.setattr(type(program), "load", lambda self, content: lambda image: load(self, content)(image) + 1e-3)
    line = refused(call, capsys, checkpoint(runs, "baseline"), str(tmp_path / "network.pt2"))
    assert "not written" in line
    assert not [*tmp_path.glob("network*")]


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("baseline", None),
        ("base_oc", (9 * 17, 9 * 17)),
        ("asp_oc", (4 * 8, 4 * 8)),
        ("pyramid_oc", (9 * 17, 9 * 17)),
        ("ocr", (9 * 17, 5)),
    ],
)
def test_the_largest_stored_map(head: str, expected: tuple[int, int] | None) -> None:
    assert largest_map(network_of(head), (65, 129)) == expected
