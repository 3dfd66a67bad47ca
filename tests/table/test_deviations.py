"""Deviations from the paper: all are listed, and nothing else."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from results import result

from ocnet_pl.config.compose import compose_with_choices, plain
from ocnet_pl.config.search_path import config_dir, options
from ocnet_pl.record.result import Result
from ocnet_pl.report.deviations import in_words
from ocnet_pl.report.files import markdown
from ocnet_pl.table import read_tables
from ocnet_pl.table.deviations import deviations, unlike_seeds
from ocnet_pl.table.paper import published


def composed(*overrides: str, seed: int = 0) -> Result:
    """Result of a run with these overrides."""
    config, choices = compose_with_choices(*overrides)
    values = plain(config)
    name, row = str(values["name"]), str(values["row"])
    steps = values["schedule"]["max_steps"]
    return result(row, seed, 80, name, config=values, choices=choices, overrides=list(overrides), steps=steps)


def whole_table(name: str) -> dict[str, list[Result]]:
    """Runs of `experiment=<name>` by row."""
    params: dict[str, Any] = yaml.safe_load((config_dir() / "experiment" / f"{name}.yaml").read_text())["hydra"][
        "sweeper"
    ]["params"]
    swept = OverridesParser.create().parse_overrides([f"{key}={value}" for key, value in params.items()])
    (jobs,) = BasicSweeper.split_arguments(swept, max_batch_size=None)
    seeds = sorted({int(o.removeprefix("seed=")) for job in jobs for o in job if o.startswith("seed=")})
    rows = {}
    for job in jobs:
        if f"seed={seeds[0]}" in job:
            run = composed(f"experiment={name}", *job)
            rows[run.row] = [replace(run, seed=seed) for seed in seeds]
    return rows


def listed(table: str, rows: dict[str, list[Result]]) -> list[str]:
    return [in_words(deviation) for deviation in deviations(published()[table], rows)]


SCENES_OWN = [
    "output stride 32 in refinenet, upernet, bisenet, dfn (paper: 8)",
    "weight of the auxiliary loss 0 in refinenet, upernet, bisenet, dfn, depthseg, danet (paper: 0.4)",
]
PARSING_OWN = [
    "output stride 16 in mman, ce2p, ce2p_asp_oc (paper: 8)",
    "weight of the auxiliary loss 0 in attention_ssl, jppnet, ss_nan, mman, mula, ce2p, ce2p_asp_oc (paper: 0.4)",
    "poses yes in jppnet, mula (paper: no)",
]
SYSTEMS_OWN = {
    "table3_same_recipe": SCENES_OWN, "table5_same_recipe": SCENES_OWN, "table6_same_recipe": PARSING_OWN,
}  # fmt: skip
"""What systems bring with them to a table of one recipe."""


@pytest.mark.parametrize("name", [o for o in options("experiment") if o.startswith("table")])
def test_the_experiment_has_the_papers_protocol(name: str) -> None:
    always = [f"{key} {ours} (paper: {paper})" for key, (ours, paper) in published()[name].get("always", {}).items()]
    assert listed(name, whole_table(name)) == always + SYSTEMS_OWN.get(name, [])


def test_every_table_has_a_protocol() -> None:
    for table in published().values():
        assert {"dataset", "schedule.batch_size", "inference", "trainer.precision", "seeds"} <= set(table["protocol"])


def test_every_deviation_is_listed() -> None:
    run = composed(
        "experiment=table1", "model/head=gp", "schedule.max_steps=300", "schedule.batch_size=4",
        "model/backbone=tiny", "dataset.crop_size=[513,513]", "trainer.precision=bf16-mixed", "inference=flip",
        "model.head.dropout=0", "dataset.root=/elsewhere", "schedule.val_every=100",
    )  # fmt: skip
    assert listed("table1", {"GP": [run]}) == [
        "crop 513x513 (paper: 769x769)",
        "backbone test_resnet (paper: resnet101s)",
        "pretrained backbone no (paper: yes)",
        "steps 300 (paper: 40000)",
        "batch size 4 (paper: 8)",
        "test protocol flip (paper: whole)",
        "precision bf16-mixed (paper: 32-true)",
        "model.head.dropout 0 (overridden)",
        "rows 1 (paper: 7)",
        "seeds 1 (paper: 3)",
    ]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("parent=../table2/trainval", "parent ../table2/trainval (overridden)"),
        ("+trainer.limit_train_batches=10", "trainer.limit_train_batches 10 (overridden)"),
        ("trainer.devices=4", None),
        ("trainer.deterministic=true", None),
    ],
)
def test_trainer_overrides_are_listed(override: str, expected: str | None) -> None:
    run = composed("experiment=table1", "model/head=gp", override)
    overridden = [line for line in listed("table1", {"GP": [run]}) if "overridden" in line]
    assert overridden == [expected] * (expected is not None)


def test_the_optimizer_callbacks_and_an_early_end_are_listed() -> None:
    settings = (
        "experiment=table1",
        "model/head=gp",
        "optimizer=adamw",
        "schedule.lr=0.01",
        "callbacks=[ema,early_stopping]",
    )
    short = replace(composed(*settings), steps=30_000)
    assert listed("table1", {"GP": [short, replace(short, seed=1, steps=40_000)]})[:3] == [
        "steps 30000 in GP seed 0 (paper: 40000)",
        "optimizer torch.optim.AdamW (paper: torch.optim.SGD)",
        "callbacks ema, early_stopping (overridden)",
    ]


@pytest.mark.parametrize(("trainer", "synchronized"), [("ddp", True), ("ddp_cpu", False)])
def test_unsynchronised_batch_norm_is_listed(trainer: str, synchronized: bool) -> None:
    run = replace(composed("experiment=table1", "model/head=gp", f"trainer={trainer}"), processes=2)
    lines = listed("table1", {"GP": [run]})
    assert synchronized is not any(line.startswith("trainer.sync_batchnorm no (paper: yes)") for line in lines)


def test_another_data_set_is_listed_once() -> None:
    lines = listed("table1", {"GP": [composed("experiment=table1", "model/head=gp", "dataset=ade20k")]})
    assert lines[0] == "data set ade20k (paper: cityscapes)"
    assert not any("crop" in line for line in lines)


def test_another_network_in_table_6_is_listed() -> None:
    alone = composed("experiment=table6", "model/head=asp_oc", "row=ce2p_asp_oc")
    other = composed("experiment=table6", "model/head@model.head.context=gp")
    narrow = composed("experiment=table6", "model.head.context.out_channels=256")
    bare = composed("experiment=table6", "loss.auxiliary_weight=0")
    lines = [listed("table6", {"OCNet": [run]}) for run in (alone, other, narrow, bare)]
    assert "head asp_oc (paper: ce2p_asp_oc)" in lines[0]
    assert "output stride 8 (paper: 16)" in lines[0]
    assert lines[1:] == [
        ["head of the context gp (paper: asp_oc)"],
        ["width of the context 256 (paper: 512)"],
        ["weight of the auxiliary loss 0 (paper: 0.4)"],
    ]


def test_another_head_under_the_name_of_a_row_is_listed() -> None:
    run = composed("experiment=table1", "model/head=asp_oc_2019", "row=asp_oc", "seed=0")
    assert listed("table1", {"ASP-OC": [run] * 3})[0] == "head asp_oc_2019 (paper: asp_oc)"


def test_deviations_of_some_runs_name_them() -> None:
    usual, short = (composed("experiment=table1", "model/head=gp", *o) for o in ([], ["schedule.max_steps=300"]))
    rows = {
        "GP": [usual, replace(short, seed=1), replace(usual, seed=2)],
        "PPM": [replace(short, row="ppm", seed=seed) for seed in range(3)],
    }
    assert "steps 300 in GP seed 1, PPM (paper: 40000)" in listed("table1", rows)
    (unlike,) = unlike_seeds(rows)
    assert unlike.startswith("GP, seed 0 and seed 1: schedule.max_steps: 40000 -> 300")


def test_deviations_are_below_the_table(tmp_path: Path) -> None:
    run = composed("experiment=table1", "model/head=gp", "schedule.max_steps=300", "name=small")
    replace(run, table="small").write(tmp_path / "small" / "gp" / "seed-0" / "result.json")
    result("gp", 0, 70, "other").write(tmp_path / "other" / "gp" / "seed-0" / "result.json")
    other, small = (markdown(table) for table in read_tables(tmp_path))
    assert "## small, after Table 1:" in small
    assert "| 77.60 ± 0.22 |" in small
    assert (
        "Deviations from the paper (table1): steps 300 (paper: 40000); rows 1 (paper: 7); seeds 1 (paper: 3)." in small
    )
    assert "paper" not in other
