"""Folders of one's own configuration files, in every command."""

import json
import os
from pathlib import Path

import pytest
from conftest import TINY, Main

from ocnet_pl.command.parsing import CONF_VARIABLE
from ocnet_pl.config.compose import compose, heads
from ocnet_pl.config.search_path import options
from ocnet_pl.errors import UserError
from ocnet_pl.sweep.expansion import expand


@pytest.fixture
def own(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`my/`, with an experiment, a head and a protocol; not yet on the search path."""
    monkeypatch.setenv(CONF_VARIABLE, "")  # so that it is put back
    folder = workplace / "my"
    for path, content in {
        "experiment/mine.yaml": "# @package _global_\nname: mine\nseed: 7\n",
        "model/head/mine.yaml": "defaults: [gp]\ndropout: 0.25\n",
        "inference/whole.yaml": "defaults: [flip]\n",
    }.items():
        (folder / path).parent.mkdir(parents=True)
        (folder / path).write_text(content)
    return folder


def test_files_of_the_user_are_composed_and_listed(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "mine" not in heads()
    with pytest.raises(UserError, match="no such option"):
        compose("experiment=mine")
    usual = compose().inference
    monkeypatch.setenv(CONF_VARIABLE, str(own))
    config = compose("experiment=mine", "model/head=mine")
    assert (config.name, config.seed, config.row, config.model.head.dropout) == ("mine", 7, "mine", 0.25)
    assert "mine" in heads()
    assert {"mine", "table1"} <= set(options("experiment"))
    assert config.inference != usual, "one's own file comes before the package's"
    with pytest.raises(UserError, match=r"did you mean model/head=mine\?"):
        compose("model/head=mien")
    assert [run.config["seed"] for run in expand(["experiment=mine", "dataset.root=x", "row=a,b"])] == [7, 7]


@pytest.mark.parametrize(
    "options",
    [["--config-dir", "my"], ["--config-dir=my"], ["-cd", "my"], ["hydra.searchpath=[my]"],
     ["hydra.searchpath=[file:///{cwd}/my]"]],
)  # fmt: skip
@pytest.mark.parametrize("first", [True, False])
def test_every_way_to_give_the_folder(
    options: list[str], first: bool, own: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [option.format(cwd=own.parent) for option in options]
    rest = ["experiment=mine", "--cfg", "job"]
    assert call("train", *(options + rest if first else rest + options)) == 0
    assert "name: mine" in capsys.readouterr().out
    assert os.environ[CONF_VARIABLE].endswith(str(own))


def test_the_first_of_several_folders_takes_precedence(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = own.with_name("other")
    (other / "experiment").mkdir(parents=True)
    (other / "experiment" / "mine.yaml").write_text("# @package _global_\nname: other\n")
    for folders, name in (([other, own], "other"), ([own, other], "mine")):
        monkeypatch.setenv(CONF_VARIABLE, os.pathsep.join(map(str, folders)))
        assert compose("experiment=mine").name == name


def test_the_runs_of_a_sweep_find_them(own: Path, call: Main) -> None:
    sweep = (*TINY, "schedule.max_steps=1", "experiment=mine", "model/head=mine", "hydra.mode=MULTIRUN")
    assert call("train", *sweep, "--config-dir", "my") == 0
    result = json.loads(Path("outputs/mine/mine/seed-7/result.json").read_text())
    assert result["config"]["model"]["head"]["dropout"] == 0.25


@pytest.mark.parametrize("command", ["data", "evaluate", "predict", "profile", "convert", "report", "dashboard"])
def test_other_commands_take_the_folder(
    command: str, own: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {"data": ["check"]}.get(command, [])
    assert call(command, *before, "--config-dir", "my", "--help") == 0
    assert "--config-dir DIR" in capsys.readouterr().out
    assert os.environ[CONF_VARIABLE] == str(own)


@pytest.mark.parametrize("options", [["--config-dir", "nowhere"], ["hydra.searchpath=[nowhere]"]])
def test_a_missing_folder_is_reported(
    options: list[str], own: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("train", *options, *TINY) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(own.with_name("nowhere")) in line


@pytest.mark.parametrize("value", ["[pkg://some.package]", "my", "[1]"])
def test_a_search_path_of_another_kind_is_refused(
    value: str, own: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("train", f"hydra.searchpath={value}", *TINY) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"hydra.searchpath={value}: expected a" in line
