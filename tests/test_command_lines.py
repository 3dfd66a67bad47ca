"""Command lines that no run can have: one line, exit code 2, and nothing is made."""

from pathlib import Path

import pytest
from conftest import TINY, Main, checkpoint, spawn

import ocnet_pl

COMMANDS = ("train", "evaluate", "predict", "report", "dashboard", "data", "convert", "profile", "explore", "export")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_prints_the_version_of_this_package(
    command: str, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(command, "--version") == 0
    assert capsys.readouterr().out == f"ocnet_pl {ocnet_pl.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["hydra.run.dir=elsewhere"], "outputs="),
        (["hydra.run.dir=outputs/runs/base_oc/seed-1"], "outputs="),
        (["-m", "hydra.sweep.dir=elsewhere", "seed=0,1"], "outputs="),
        (["-m", "hydra.sweep.subdir=${hydra:job.num}", "seed=0,1"], "row="),
        (["hydra.job.chdir=true"], "hydra.job.chdir"),
        (["-m", "hydra.job.chdir=true", "seed=0,1"], "hydra.job.chdir"),
        (["hydra.output_subdir=.hydra"], "hydra.output_subdir"),
        (["--config-path", "/tmp"], "--config-dir"),
        (["--config-name", "evaluate"], "--config-dir"),
        (["-cn", "evaluate"], "--config-dir"),
        (["--experimental-rerun", "x.pkl"], "--experimental-rerun"),
        (["-m", "--cfg", "job"], "give one of"),
        (["--resolve"], "give one of"),
        (["row=" + 300 * "a"], "row=aaa"),
        (["row=" + 90 * "ä€"], "row="),
        (['row="a\\nb"', "name=x"], "row="),
        (["row='a\nb'"], "row="),
        (["row='a\x1b[31mb'"], "row="),
        (["row=-a"], "row=-a"),
        (["row=.hidden"], "row=.hidden"),
        (["row='a '"], "row='a '"),
        (["row=''"], "row="),
        (["name=" + 300 * "a"], "name=aaa"),
        (["name='a\tb'"], "name="),
        (["name=a/../../b"], "name="),
        (["name=a//b"], "name="),
        (["name=a/.b"], "name="),
        (["-m", "row=ok,-a"], "row=-a"),
        (["schedule.optimizer._target_=torch.optim.AdamW"], "~schedule.optimizer.momentum"),
        (["dataset.cache=~/cache"], str(Path.home() / "cache")),
        (["dataset.cache='~/cache'"], str(Path.home() / "cache")),
        (["outputs=~/outputs"], str(Path.home() / "outputs")),
        (["parent=${nowhere}"], "parent: "),
        (["-m", "seed=0,1", "parent=${nowhere}"], "parent: "),
        (["row=base_oc", "parent=base_oc"], "cannot start from itself"),
        (["-m", "seed=0,1", "row=a", "parent=a"], "cannot start from itself"),
        (["+trainer.max_epochs=3"], "schedule.max_steps"),
        (["+trainer.callbacks=[]"], "callbacks=ema"),
        (["+ckpt_path=x.ckpt"], "resumes an interrupted run by itself"),
        (["+max_epochs=3"], "schedule.max_steps"),
        (["optimizer=adamw"], "schedule.lr=VALUE"),
        (["-m", "optimizer=sgd,adamw", "row=${hydra:runtime.choices.optimizer}"], "schedule.lr=VALUE"),
        (["rehearsal=maybe"], "rehearsal=maybe: expected true or false"),
    ],
)
def test_one_line_and_nothing_is_made(
    arguments: list[str], words: str, workplace: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("train", *TINY, *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("ocnet-train: error: ")
    assert len(line) < 500
    assert words in line
    assert not list(workplace.iterdir())


@pytest.mark.parametrize("removed", ["hydra.callbacks.sweep"])
def test_a_run_does_not_start_unchecked(removed: str, workplace: Path, call: Main) -> None:
    assert call("train", *TINY, f"~{removed}") == 2
    assert not list(workplace.rglob("*.json"))


@pytest.mark.parametrize(
    ("key", "words", "not_words"),
    [
        ("trainer.max_epochs", "schedule.max_steps", "num_nodes"),
        ("max_epochs", "schedule.max_steps", "did you mean"),
        ("max_steps", "schedule.max_steps", "+trainer"),
        ("trainer.val_check_interval", "schedule.val_every", "+trainer"),
        ("trainer.logger", "logger=wandb", "+trainer"),
        ("trainer.limit_val_batches", "+trainer.limit_val_batches", "did you mean"),
        ("trainer.gradient_clip_val", "+trainer.gradient_clip_val", "did you mean"),
        ("limit_train_batches", "+trainer.limit_train_batches", "did you mean"),
        ("resume", "resumes an interrupted run by itself", "did you mean"),
        ("ckpt_path", "resumes an interrupted run by itself", "did you mean"),
        ("epochs", "schedule.max_steps", "did you mean"),
        ("gpus", "trainer.devices", "did you mean"),
        ("logger", "tensorboard, wandb", "Traceback"),
        ("optimizer", "adamw, sgd", "Traceback"),
        ("trainer.gpus", "trainer.devices", "did you mean"),
        ("devices", "did you mean trainer.devices?", "+trainer"),
        ("trainer.num_node", "did you mean trainer.num_nodes?", "+trainer"),
        ("trainer.nonsense", "no such setting", "did you mean"),
        ("weight_decay", "did you mean schedule.weight_decay?", "+trainer"),
        ("schedule.learning", "no such setting", "did you mean"),
    ],
)
def test_a_suggestion_is_of_the_same_kind(
    key: str, words: str, not_words: str, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("train", f"{key}=1") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert not_words not in line


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("threads", "a setting of ocnet-train only"),
        ("dataset.num_worker", "did you mean dataset.num_workers?"),
        ("splitt", "did you mean split?"),
        ("evaluate_on", "a setting of ocnet-train only"),
        ("trainer.max_epochs", "no such setting of this command"),
    ],
)
def test_a_suggestion_is_a_setting_of_that_command(
    key: str, words: str, runs: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("evaluate", checkpoint(runs, "base_oc"), f"{key}=1") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert f"did you mean {key}?" not in line


@pytest.mark.parametrize(("in_the_way", "arguments"), [
    ("outputs", ()), ("outputs/runs", ()), ("outputs/runs/base_oc", ()), ("outputs/runs/base_oc/seed-0", ()),
    ("outputs/runs/base_oc/seed-1", ("-m", "seed=0,1")), ("outputs/runs", ("-m", "seed=0,1")),
])  # fmt: skip
def test_a_file_in_place_of_a_folder(
    in_the_way: str, arguments: tuple[str, ...], workplace: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    path = workplace / in_the_way
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")
    assert call("train", *arguments, *TINY) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "a file is in the way" in line
    assert path.read_text() == "mine"


def test_flags_may_stand_between_overrides(workplace: Path, call: Main, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("train", *TINY, "-m", "seed=0,-1") == 2
    assert "seed=-1" in capsys.readouterr().err


ASCII = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def test_a_terminal_that_knows_ascii_only(runs: Path) -> None:
    row = runs / "baseline"
    row.rename(runs / "bäse±")
    for arguments in (["report", "runs"], ["report", "runs", "--status"], ["profile", "--help"], ["train", "row=ä"]):
        done = spawn(*arguments, cwd=runs.parent, **ASCII)  # type: ignore[arg-type]
        assert "Traceback" not in done.stderr
        assert done.stdout.isascii()
        assert done.returncode in (0, 2)
