"""Heads, data sets and experiments in a folder of the user: one Python file and one YAML each, nothing else changed."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import SHORT, TINY, Main, spawn
from PIL import Image

import ocnet_pl
from ocnet_pl.errors import UserError
from ocnet_pl.process import CONF_VARIABLE

HEAD = '''
import torch
from torch import nn


class ColumnAttention(nn.Module):
    """Every pixel attends to the pixels of its column."""

    name = "columns"

    def weights(self, features):
        queries = features.permute(0, 3, 2, 1)
        return (queries @ queries.transpose(2, 3)).softmax(-1)

    def forward(self, features):
        return (self.weights(features) @ features.permute(0, 3, 2, 1)).permute(0, 3, 2, 1)

    def size(self, features):
        return tuple(features.shape[2:])

    def rows(self, features, points):
        rows = features.new_zeros(len(points), *features.shape[2:])
        weights = self.weights(features)
        for row, (x, y) in zip(rows, points.tolist()):
            row[:, x] = weights[0, x, y]
        return rows

    def reach(self, x, y, size):
        reached = torch.zeros(size, dtype=torch.bool)
        reached[:, x] = True
        return reached


class MyHead(nn.Module):
    def __init__(self, in_channels, out_channels, gain=1.0):
        super().__init__()
        self.out_channels = out_channels
        self.gain = gain
        self.reduce = nn.Conv2d(in_channels, out_channels, 1)
        self.attention = ColumnAttention()

    def forward(self, features):
        reduced = self.reduce(features)
        return reduced + self.gain * self.attention(reduced)

    def attended(self, features):
        return [(self.attention, self.reduce(features))]
'''

DATA = """
import numpy as np

from ocnet_pl.dataset.data_module import SegmentationDataModule
from ocnet_pl.dataset.labels import decoding_table


class MyData(SegmentationDataModule):
    classes = ("dark", "bright")
    palette = np.array([[0, 0, 0], [255, 255, 255]], np.uint8)
    table = decoding_table({0: 0, 1: 1})

    def candidates(self, split):
        images = sorted((self.root / split).glob("*-image.png"))
        return [(image, image.with_name(image.name.replace("image", "label"))) for image in images]
"""

FILES = {
    "own_head.py": HEAD,
    "model/head/mine.yaml": "label: My Net\n_target_: own_head.MyHead\nout_channels: 512\ngain: 1.0\n",
    "own_data.py": DATA,
    "dataset/mine.yaml": "_target_: own_data.MyData\nroot: ???\ncrop_size: [24, 32]\nnum_workers: 0\n",
    "experiment/mine.yaml": "# @package _global_\nname: mine\nhydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n"
    "      model/head: baseline,mine\n      seed: 0\n",
}


def written(folder: Path, files: dict[str, str]) -> Path:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content)
    return folder


@pytest.fixture
def own(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The user's folder, outside the checkout and beside the current folder's outputs; not yet on the search path."""
    monkeypatch.setenv(CONF_VARIABLE, "")  # so that it is restored
    monkeypatch.setattr(sys, "path", list(sys.path))
    modules = set(sys.modules)
    yield written(workplace / "own files", FILES)
    for name in set(sys.modules) - modules:
        if name.startswith("own_"):
            del sys.modules[name]


def two_images(root: Path) -> Path:
    rng = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        (root / split).mkdir(parents=True)
        for index in range(count):
            image = rng.integers(0, 256, (24, 32, 3), np.uint8)
            Image.fromarray(image).save(root / split / f"{index}-image.png")
            Image.fromarray((image.mean(2) > 128).astype(np.uint8)).save(root / split / f"{index}-label.png")
    return root


def test_a_head_goes_through_every_command(own: Path, call: Main, capsys: pytest.CaptureFixture[str]) -> None:
    folder = ("--config-dir", str(own))
    assert call("train", *folder, *TINY, "model/head=mine", "model.head.gain=0.5") == 0
    run = Path("outputs/runs/mine/seed-0")
    checkpoint = str(run / "checkpoints/last.ckpt")
    assert call("evaluate", *folder, checkpoint, "trainer=cpu", "inference=flip") == 0
    assert "last/val/flip" in json.loads((run / "result.json").read_text())["evaluations"]
    size = ("--backbone", "tiny", "--size", "64", "--repeats", "1", "--device", "cpu")
    assert call("profile", *folder, "--heads", "mine", "baseline", *size) == 0
    assert call("explore", "figure", *folder, checkpoint, "--points", "3,4", "--out", "map.png", "--device", "cpu") == 0
    assert call("explore", "measure", *folder, checkpoint, "--pixels", "3", "--device", "cpu") == 0
    image = next(Path("data/demo/leftImg8bit/val").rglob("*.png"))
    assert call("predict", *folder, checkpoint, str(image), "--out", "predicted", "--device", "cpu") == 0
    capsys.readouterr()
    assert call("report", *folder, "outputs/runs") == 0
    assert "My Net" in capsys.readouterr().out
    assert "My Net" in Path("outputs/runs/table.md").read_text()
    assert list(Path("predicted/masks").glob(f"{image.stem}*"))
    assert Path("map.png").stat().st_size > 1000


def test_a_checkpoint_names_what_it_needs(own: Path, call: Main, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("train", "--config-dir", str(own), *TINY, "schedule.max_steps=1", "model/head=mine") == 0
    checkpoint = "outputs/runs/mine/seed-0/checkpoints/last.ckpt"
    code = f"import ocnet_pl; print(type(ocnet_pl.load({checkpoint!r}).network.head).__module__, ocnet_pl.heads())"
    environment = os.environ | {CONF_VARIABLE: "own files"}
    shown = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert shown.stdout.startswith("own_head [")
    assert "'mine'" in shown.stdout
    os.environ[CONF_VARIABLE] = ""
    assert call("evaluate", checkpoint, "trainer=cpu") == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert "own_head.MyHead" in error
    assert "--config-dir" in error


def test_a_data_set_is_checked_trained_and_evaluated(own: Path, call: Main) -> None:
    root = two_images(own.parent / "pictures")
    settings = ("--config-dir", str(own), "dataset=mine", f"dataset.root={root}")
    assert call("data", "check", *settings) == 0
    assert call("train", *SHORT, *settings, "name=sets") == 0
    run = Path("outputs/sets/base_oc/seed-0")
    assert set(json.loads((run / "result.json").read_text())["evaluations"]["last/val/whole"]["iou"]) == {
        "dark",
        "bright",
    }
    assert call("evaluate", str(run / "checkpoints/last.ckpt"), "trainer=cpu", "split=train") == 0
    assert call("report", "outputs/sets") == 0


def test_an_experiment_trains_its_runs_in_fresh_processes(
    own: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("train", *TINY, "schedule.max_steps=1", "--config-dir", str(own), "experiment=mine") == 0
    assert "outputs/mine: 2 done" in capsys.readouterr().out
    assert call("report", "outputs/mine") == 0
    printed = capsys.readouterr().out
    assert "My Net" in printed
    assert "Baseline" in printed


def test_help_lists_its_options_and_a_misspelt_name_finds_them(
    own: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("train", "--config-dir", str(own), "--help") == 0
    printed = capsys.readouterr().out
    for group in ("model/head", "dataset", "experiment"):
        (line,) = (line for line in printed.splitlines() if line.startswith(f"{group}: "))
        assert "mine" in line.partition(": ")[2].split(", ")
    assert call("train", *TINY, "model/head=mien") == 2
    assert "model/head=mine" in capsys.readouterr().err
    assert call("train", *TINY, "model/head=mine", "model.head.gian=2") == 2
    assert "model.head.gain" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("way", [("trainer=ddp_cpu",), ("-m", "hydra/launcher=joblib", "seed=0,1")])
def test_every_process_finds_them(way: tuple[str, ...], own: Path) -> None:
    done = spawn("train", *TINY, "model/head=mine", *way, cwd=own.parent, **{CONF_VARIABLE: str(own)})
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(Path("outputs/runs/mine/seed-0/result.json").read_text())["steps"] == 6


BROKEN = {
    "no such module": ({"model/head/mine.yaml": "label: x\n_target_: own_haed.My\nout_channels: 8\n"}, "'own_haed'"),
    "no such class": ({"model/head/mine.yaml": "label: x\n_target_: own_head.Mine\nout_channels: 8\n"}, "'Mine'"),
    "a file that is not Python": ({"own_head.py": "class MyHead(:\n"}, "own_head.py, line 1"),
    "a file that fails": ({"own_head.py": "\n\nimport nowhere_to_be_found\n"}, "own_head.py, line 3"),
    "no label": ({"model/head/mine.yaml": "_target_: own_head.MyHead\nout_channels: 512\n"}, "model.head.label"),
    "no out_channels": ({"own_head.py": HEAD.replace("self.out_channels = out_channels", "pass")}, "out_channels"),
    "a YAML file that is not YAML": ({"model/head/mine.yaml": "label: [\n_target_: x\n"}, "head/mine.yaml"),
    "a YAML file that is not text": ({"model/head/mine.yaml": "label: \udcff\n"}, "head/mine.yaml"),
    "a wrong argument": ({"own_data.py": DATA, "dataset/mine.yaml": "_target_: own_data.MyData\nroot: x\nbatch: 3\n"},
                         "batch"),
}  # fmt: skip


@pytest.mark.parametrize("way", BROKEN)
def test_a_broken_file_gets_one_line(way: str, own: Path, call: Main, capsys: pytest.CaptureFixture[str]) -> None:
    files, words = BROKEN[way]
    for path, content in files.items():
        (own / path).write_bytes(content.encode(errors="surrogateescape"))
    group = "dataset" if any("data" in path for path in files) else "model/head"
    overrides = [word for word in TINY if group == "model/head" or not word.startswith("dataset")]
    assert call("train", "--config-dir", str(own), *overrides, f"{group}=mine") == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith("ocnet-train: error: ")
    assert words in error
    assert not Path("outputs/runs/mine/seed-0/result.json").exists()


def test_a_broken_file_of_another_option_is_named_when_a_checkpoint_is_opened(own: Path, runs: Path) -> None:
    (own / "inference").mkdir()
    (own / "inference/other.yaml").write_text("flip: [\n")
    os.environ[CONF_VARIABLE] = str(own)
    with pytest.raises(UserError, match=r"other\.yaml: not valid YAML \(line"):
        ocnet_pl.load(runs / "base_oc/seed-0/checkpoints/last.ckpt")


def test_an_installed_package_is_not_replaced(own: Path, call: Main) -> None:
    (own / "numpy.py").write_text("raise RuntimeError('the wrong numpy')\n")
    done = spawn("train", *TINY, "--config-dir", str(own), "model/head=mine", "--cfg", "job", cwd=own.parent)
    assert done.returncode == 0, done.stderr
    code = "import ocnet_pl.config.compose as c; c.compose('model/head=mine'); import json, numpy; numpy.zeros(1)"
    subprocess.run([sys.executable, "-c", code], env=os.environ | {CONF_VARIABLE: str(own)}, check=True)
