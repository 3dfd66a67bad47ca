"""The paper's tables: their rows, and each of them in small from its first run to its report."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from conftest import SHORT, Main, config_of
from trees import ade20k_tree, lip_tree

from ocnet_pl.config.compose import compose
from ocnet_pl.dataset.demo import draw_tree
from ocnet_pl.sweep.expansion import PlannedRun, expand
from ocnet_pl.table import read_tables
from ocnet_pl.table.paper import published

HEADS = ["baseline", "gp", "ppm", "aspp", "base_oc", "pyramid_oc", "asp_oc"]
SYSTEMS = [
    *HEADS, "refinenet", "duc", "sac", "psanet", "aaf", "encnet", "denseaspp", "upernet", "bisenet", "dfn", "dsspn",
    "depthseg", "non_local", "danet", "ccnet", "isa", "ocr",
]  # fmt: skip
PARSING = ["baseline", "attention_ssl", "jppnet", "ss_nan", "mman", "mula", "ce2p", "ce2p_asp_oc"]
SAME_RECIPE = {"table3_same_recipe": SYSTEMS, "table5_same_recipe": SYSTEMS, "table6_same_recipe": PARSING}
"""Rows of the tables of one recipe."""
ROWS = {
    "table1": [(head, seed) for head in HEADS for seed in (0, 1, 2)],
    "table2": [(row, 0) for row in ("plain", "ohem", "ms_flip", "trainval", "finetune")],
    "table3": [("ms_flip", 0), ("finetune", 0)],
    "table4": [(head, seed) for head in HEADS for seed in (0, 1, 2)],
    "table5": [("asp_oc", 0)],
    "table6": [("ce2p_asp_oc", 0)],
    **{table: [(system, seed) for system in systems for seed in (0, 1, 2)] for table, systems in SAME_RECIPE.items()},
}


@cache
def planned(table: str, *overrides: str) -> list[PlannedRun]:
    """What `ocnet-train experiment=<table> ...` starts."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir

    from ocnet_pl.config.compose import config_dir

    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        hydra = hydra_compose("train", [f"experiment={table}"], return_hydra_config=True).hydra
    assert hydra.mode.name == "MULTIRUN"
    swept = [f"{key}={value}" for key, value in hydra.sweeper.params.items()]
    return expand([*swept, f"experiment={table}", *overrides])


@pytest.mark.parametrize("table", ROWS)
def test_a_table_is_the_papers_rows(table: str) -> None:
    runs = planned(table)
    assert [(run.config["row"], run.config["seed"]) for run in runs] == ROWS[table]
    assert {run.config["row"] for run in runs} == set(published()[table]["rows"])
    assert {run.directory.parts[:2] for run in runs} == {("outputs", table)}


@pytest.mark.parametrize("table", SAME_RECIPE)
def test_systems_under_one_recipe_differ_in_what_they_are(table: str) -> None:
    """Data, schedule, losses of the classifiers and protocol are the same."""
    own = {
        "head",
        "output_stride",
        "block_dilations",
        "scale_adaptive",
        "auxiliary_weight",
        "additional",
        "poses",
        "image_weights",
    }

    def shared(node: Any) -> Any:
        return {k: shared(v) for k, v in node.items() if k not in own} if isinstance(node, dict) else node

    runs = {run.config["row"]: run.config for run in planned(table) if run.config["seed"] == 0}
    for row, config in runs.items():
        assert shared(config | {"row": ""}) == shared(runs["baseline"] | {"row": ""}), row
    strides = {row: config["model"]["backbone"]["output_stride"] for row, config in runs.items()}
    coarser = {"refinenet": 32, "upernet": 32, "bisenet": 32, "dfn": 32, "mman": 16, "ce2p": 16, "ce2p_asp_oc": 16}
    assert strides == {row: coarser.get(row, 8) for row in runs}
    weights = {row: config["loss"]["auxiliary_weight"] for row, config in runs.items()}
    own_supervision = {"refinenet", "upernet", "bisenet", "dfn", "danet", "depthseg", *PARSING[1:]}
    assert weights == {row: 0 if row in own_supervision else 0.4 for row in runs}
    assert {row for row, config in runs.items() if config["model"]["backbone"]["block_dilations"]} == {"duc"} & set(
        runs
    )
    assert {row for row, config in runs.items() if config["model"]["backbone"]["scale_adaptive"]} == {"sac"} & set(runs)
    assert {row for row, config in runs.items() if config["loss"]["additional"]} == {"aaf"} & set(runs)
    assert {row for row, config in runs.items() if config["dataset"].get("poses")} == {"jppnet", "mula"} & set(runs)


def test_the_staircase_of_table_2() -> None:
    runs = {run.config["row"]: run.config for run in planned("table2")}
    assert {row: config["schedule"]["max_steps"] for row, config in runs.items()} == {
        "plain": 40_000, "ohem": 40_000, "ms_flip": 0, "trainval": 80_000, "finetune": 100_000,
    }  # fmt: skip
    assert {row: config["parent"] for row, config in runs.items()} == {
        "plain": None, "ohem": None, "ms_flip": "ohem", "trainval": None, "finetune": "trainval",
    }  # fmt: skip
    assert runs["ohem"]["loss"]["main"] == {
        "_target_": "ocnet_pl.loss.ohem.OhemCrossEntropy", "threshold": 0.7, "min_kept": 100_000, "ignore_index": 255,
    }  # fmt: skip
    assert "flip" not in runs["ohem"]["inference"]
    assert (runs["ms_flip"]["inference"]["scales"], runs["ms_flip"]["inference"]["flip"]) == ([0.75, 1.0, 1.25], True)
    assert [runs[row]["dataset"]["train_split"] for row in ("ohem", "trainval", "finetune")] == [
        "train", "trainval", "trainval",
    ]  # fmt: skip
    assert (runs["finetune"]["schedule"]["lr"], runs["finetune"]["schedule"]["lr_scheduler"]["power"]) == (1e-4, 0)


def test_table_3_trains_nothing() -> None:
    assert [(run.config["schedule"]["max_steps"], run.config["parent"]) for run in planned("table3")] == [
        (0, "../table2/ms_flip"),
        (0, "../table2/finetune"),
    ]


def test_a_sweep_without_its_parents_does_not_start(
    workplace: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("train", "experiment=table3") == 2
    error = capsys.readouterr().err
    assert "starts from outputs/table2/ms_flip/seed-0" in error
    assert "ocnet-train experiment=table2" in error
    assert not Path("outputs").exists()


SMALL = {
    "cityscapes": ("dataset.crop_size=[32,64]",),
    "ade20k": ("dataset.short_sides=[24,40]", "dataset.max_long_side=80", "dataset.test_short_side=30"),
    "lip": ("dataset.crop_size=[48,48]",),
}
"""Protocols of the data sets at the size of the trees below."""


@pytest.fixture
def roots(tmp_path: Path) -> dict[str, Path]:
    sizes = [(40, 60), (30, 70), (60, 40), (80, 50)]
    draw_tree(tmp_path / "cityscapes", (32, 64), {"train": 4, "val": 2}, seed=0)
    ade20k_tree(tmp_path / "ade20k", train=sizes, val=sizes[:2])
    lip_tree(tmp_path / "lip", poses=True, train=sizes, val=sizes[:2])
    return {name: tmp_path / name for name in SMALL}


@pytest.mark.parametrize(
    ("tables", "dataset"),
    [(["table1"], "cityscapes"), (["table2", "table3"], "cityscapes"), (["table4", "table5"], "ade20k"),
     (["table6"], "lip")],
)  # fmt: skip
def test_a_table_in_small(
    tables: list[str],
    dataset: str,
    roots: dict[str, Path],
    workplace: Path,
    call: Main,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for table in tables:
        fewer = ["model/head=baseline,asp_oc", "seed=0"] if len(ROWS[table]) == 21 else []
        small = [option for option in SHORT if not option.startswith("schedule.max_steps")]
        small += [*SMALL[dataset], f"dataset.root={roots[dataset]}", "dataset.num_workers=0", "schedule.batch_size=2"]
        runs = planned(table, *small, *fewer)
        for run in runs:
            # Where nothing is trained it stays so.
            steps = ["schedule.max_steps=2"] if run.config["schedule"]["max_steps"] else []
            assert call("train", *run.overrides, *steps, "hydra.mode=RUN") == 0, capsys.readouterr().err
        results = {run.config["row"]: json.loads((run.directory / "result.json").read_text()) for run in runs}
        assert {result["steps"] for result in results.values()} <= {0, 2}
        capsys.readouterr()
        assert call("report", f"outputs/{table}") == 0
        markdown = Path(f"outputs/{table}/table.md").read_text()
        for row in results:
            assert published()[table]["rows"][row]["label"] in markdown
        for others in published()[table].get("published", []):
            assert others["label"] in markdown
        if table == "table2":
            assert results["ms_flip"]["weights_sha256"] == results["ohem"]["weights_sha256"]
            assert results["finetune"]["weights_sha256"] != results["trainval"]["weights_sha256"]
            staircase = results
        if table == "table3":
            assert all(results[row]["weights_sha256"] == staircase[row]["weights_sha256"] for row in results)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("table", "dataset", "baseline"),
    [("table3_same_recipe", "cityscapes", "ppm"), ("table5_same_recipe", "ade20k", "ppm"),
     ("table6_same_recipe", "lip", "ce2p")],
)  # fmt: skip
def test_systems_under_one_recipe_in_small(
    table: str,
    dataset: str,
    baseline: str,
    roots: dict[str, Path],
    workplace: Path,
    call: Main,
    capsys: pytest.CaptureFixture[str],
) -> None:
    small = [option for option in SHORT if not option.startswith(("schedule=", "schedule.max_steps"))]
    small += [*SMALL[dataset], f"dataset.root={roots[dataset]}", "dataset.num_workers=0", "schedule.batch_size=2"]
    for system in SAME_RECIPE[table]:
        wide = "out_channels" in config_of(system).model.head
        options = [option for option in small if wide or not option.startswith("model.head.out_channels")]
        options += ["model.head.class_channels=1"] if system == "dfn" else []  # nine for each of 150 classes otherwise
        command = (f"experiment={table}", f"model/head={system}", "seed=0", *options, "schedule.max_steps=2")
        assert call("train", *command, "hydra.mode=RUN") == 0, capsys.readouterr().err
    capsys.readouterr()
    assert call("report", f"outputs/{table}", "--baseline", baseline) == 0
    (found,) = read_tables(Path("outputs", table))
    assert [row.name for row in found.rows] == SAME_RECIPE[table]
    markdown = Path(f"outputs/{table}/table.md").read_text()
    for row, published_row in published()[table]["rows"].items():
        label = published_row.get("label") or config_of(row).model.head.label
        (line,) = [line for line in markdown.splitlines() if line.startswith(f"| {label} |")]
        assert ("own_recipe" not in published_row) or f"{published_row['own_recipe'][0]:.2f} (" in line
    assert "weight of the auxiliary loss 0 in " in markdown
    chosen = published()[table]["rows"][baseline].get("label") or config_of(baseline).model.head.label
    assert f"minus that of {chosen}" in markdown


def test_every_paper_recipe_starts_from_imagenet() -> None:
    for table in ROWS:
        assert compose(f"experiment={table}").model.backbone.pretrained
