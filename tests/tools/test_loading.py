"""`ocnet-data benchmark`: speed of a loader worker, and what GPUs ask for."""

from pathlib import Path

import pytest
import torch
from conftest import Main
from torch.utils.flop_counter import FlopCounterMode

from ocnet_pl.build import build_network
from ocnet_pl.config.compose import compose
from ocnet_pl.dataset.cityscapes import Cityscapes
from ocnet_pl.tools.cost.demand import PEAKS, UTILISATION, Demand, step_operations
from ocnet_pl.tools.cost.loading import loading_speed
from ocnet_pl.tools.cost.measuring import on_shapes


def test_a_training_step_has_three_times_the_operations_of_a_forward_pass() -> None:
    """Backward computes the gradients of weights and of inputs, but not that of the image."""
    config = compose("model/head=baseline", "model/backbone=resnet18", "model.backbone.pretrained=false")
    network = build_network(config, 19)
    shadow, image = on_shapes(network), torch.empty(1, 3, 65, 65, device="meta")
    with FlopCounterMode(display=False) as forward:
        shadow.supervised(image)  # type: ignore[operator]
    with FlopCounterMode(display=False) as stem:
        shadow.backbone.conv1(image)  # type: ignore[operator, union-attr]
    expected = 3 * forward.get_total_flops() - stem.get_total_flops()
    assert step_operations(network, (65, 65)) == expected > 0


def test_a_gpu_asks_for_images_at_a_share_of_its_peak() -> None:
    images = Demand("A", gflops=2000.0).images_per_second("a100")
    assert images * 2000e9 == pytest.approx(UTILISATION * PEAKS["a100"] * 1e12)


def test_a_worker_is_measured_on_training_samples(cityscapes_tree: Path) -> None:
    done: list[int] = []
    data = Cityscapes(str(cityscapes_tree), crop_size=(24, 32))
    speed = loading_speed(data, 5, lambda more, total: done.append(more / total))
    assert speed.size == (24, 32)
    assert speed.seconds > 0
    assert sum(done) == pytest.approx(1)


def test_the_command_names_workers_for_each_head(
    cityscapes_tree: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ("dataset=cityscapes", f"dataset.root={cityscapes_tree}", "dataset.crop_size=[64,96]")
    few = ("--samples", "3", "--heads", "baseline", "asp_oc", "--gpus", "h100")
    assert call("data", "benchmark", *data, "model/backbone=resnet18", *few) == 0
    out = capsys.readouterr().out
    assert "samples/s from one worker" in out
    assert "96x64" in out
    assert "images/s, workers" in out
    lines = [line.split() for line in out.splitlines()]
    (baseline,) = (line for line in lines if line[:1] == ["Baseline"])
    (asp_oc,) = (line for line in lines if line[:1] == ["ASP-OC"])
    assert float(asp_oc[1]) > float(baseline[1]), "operations"
    assert float(asp_oc[2].rstrip(",")) < float(baseline[2].rstrip(",")), "images per second"
    assert int(baseline[3]) >= 1


def test_an_unknown_gpu_is_refused(cityscapes_tree: Path, call: Main, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("data", "benchmark", f"dataset.root={cityscapes_tree}", "--gpus", "k80") == 2
    error = capsys.readouterr().err
    assert "k80" in error
    assert "a100" in error
