from pathlib import Path

import pytest

from ocnet_pl.errors import UserError
from ocnet_pl.record.directory import RunDirectory
from ocnet_pl.record.sealed import write_json
from ocnet_pl.sweep.expansion import expand, refuse_circle, refuse_missing_parents


@pytest.mark.parametrize(
    ("swept", "message"),
    [
        ("compile=true,maybe", "compile=maybe: expected true or false"),
        ("schedule.lr=0.01,fast", "schedule.lr=fast: expected a number"),
        ("schedule.batch_size=8,0", "schedule.batch_size=0: expected"),
        ("dataset.crop_size=[64,64],64", "dataset.crop_size=64: expected a list"),
    ],
)
def test_every_run_is_checked(swept: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        expand(["model/head=gp,ppm", swept, "dataset.root=data", "row=a,b"])
    assert str(caught.value).startswith(message)


def places(*overrides: str) -> list[str]:
    return [str(run.directory) for run in expand(["dataset.root=data", *overrides])]


@pytest.mark.parametrize(
    ("overrides", "rows"),
    [
        (("seed=1,2", "row=x-${seed}"), ["x-1/seed-1", "x-2/seed-2"]),
        (("schedule.lr=0.1,0.2", "row=lr-${schedule.lr}"), ["lr-0.1/seed-0", "lr-0.2/seed-0"]),
        (("model/head=gp,ppm", "row=my-${hydra:runtime.choices.model/head}"), ["my-gp/seed-0", "my-ppm/seed-0"]),
        (("schedule.lr=0.1", "row=a-${schedule.lr},b-${schedule.lr}"), ["a-0.1/seed-0", "b-0.1/seed-0"]),
        (("seed=3", "row=x-${seed}"), ["x-3/seed-3"]),
    ],
)
def test_an_interpolation_is_resolved_for_each_run(overrides: tuple[str, ...], rows: list[str]) -> None:
    assert places(*overrides) == [f"outputs/runs/{row}" for row in rows]


def test_an_interpolated_name_makes_several_sweeps() -> None:
    assert places("seed=1,2", "name=n-${seed}") == ["outputs/n-1/base_oc/seed-1", "outputs/n-2/base_oc/seed-2"]


def test_an_interpolated_parent_is_resolved_for_each_run() -> None:
    runs = expand(["dataset.root=data", "seed=1,2", "row=x", "parent=p-${seed}"])
    assert [run.config["parent"] for run in runs] == ["p-1", "p-2"]


@pytest.mark.parametrize("setting", ["row", "parent", "name", "schedule.lr"])
def test_an_unknown_interpolation_is_reported(setting: str) -> None:
    with pytest.raises(UserError, match=f"^{setting}: .*nowhere"):
        expand(["dataset.root=data", "seed=1,2", f"{setting}=${{nowhere}}"])


@pytest.mark.parametrize(
    ("overrides", "advice"),
    [
        (("schedule.lr=0.1,0.2",), "row=lr-${schedule.lr}"),
        (("model/backbone=resnet18,tiny",), "row=backbone-${hydra:runtime.choices.model/backbone}"),
        (("schedule.lr=0.1,0.2", "schedule.weight_decay=0,1"),
         "row=lr-${schedule.lr}-weight_decay-${schedule.weight_decay}"),
    ],
)  # fmt: skip
def test_the_recommended_row_makes_the_sweep_possible(overrides: tuple[str, ...], advice: str) -> None:
    with pytest.raises(UserError) as caught:
        places(*overrides)
    assert f"'{advice}'" in str(caught.value)
    assert len(set(places(*overrides, advice))) == 2 ** len(overrides)


def test_a_value_given_twice_is_reported() -> None:
    with pytest.raises(UserError, match="seed-0: planned 2 times"):
        places("seed=0,0")


@pytest.mark.parametrize(
    ("rows", "circle"),
    [
        ({"a": "a"}, "a -> a"),
        ({"a": "b", "b": "a"}, "a -> b -> a"),
        ({"a": "b", "b": "c", "c": "a"}, "a -> b -> c -> a"),
        ({"a": "../runs/a"}, "a -> a"),
    ],
)
def test_a_row_cannot_start_from_itself(rows: dict[str, str], circle: str, tmp_path: Path) -> None:
    runs = [
        one
        for row, parent in rows.items()
        for one in expand(["dataset.root=data", f"row={row}", f"parent={parent}", f"outputs={tmp_path}"])
    ]
    with pytest.raises(UserError) as caught:
        refuse_missing_parents(runs)
    assert f"({circle})" in str(caught.value)
    for run in runs[1:]:  # started one after another, the others' configs are in their directories
        write_json(RunDirectory(run.directory).started, run.config)
    with pytest.raises(UserError, match="cannot start from itself"):
        refuse_circle(runs[0].directory, runs[0].config)


def test_a_row_that_starts_from_two_others_in_turn_is_no_circle(tmp_path: Path) -> None:
    runs = [
        one
        for row, parent in {"a": "null", "b": "a", "c": "b"}.items()
        for one in expand(["dataset.root=data", f"row={row}", f"parent={parent}", f"outputs={tmp_path}"])
    ]
    refuse_missing_parents(runs)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("schedule.optimizer._target_=torch.optim.AdamW", "~schedule.optimizer.momentum"),
        ("schedule.lr_scheduler._target_=torch.optim.lr_scheduler.StepLR",
         "~schedule.lr_scheduler.total_iters ~schedule.lr_scheduler.power"),
        ("+schedule.optimizer.nestrov=true", "torch.optim.SGD does not take nestrov"),
        ("+trainer.max_stepz=3", "Trainer does not take max_stepz"),
        ("schedule.optimizer._target_=torch.optim.AdamWW", "AdamWW: cannot be imported"),
        ("schedule.optimizer._target_=nowhere.Adam", "No module named 'nowhere'"),
    ],
)  # fmt: skip
def test_an_argument_that_a_class_does_not_take_is_reported(override: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        expand(["dataset.root=data", override])
    assert words in str(caught.value)


def test_the_recommended_removal_makes_the_run_possible() -> None:
    adam = "schedule.optimizer._target_=torch.optim.AdamW"
    (run,) = expand(["dataset.root=data", adam, "~schedule.optimizer.momentum"])
    assert "momentum" not in run.config["schedule"]["optimizer"]
