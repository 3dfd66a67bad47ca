"""Every option of every config group composes and builds; the groups and the code mirror each other."""

import re
from pathlib import Path

import pytest
import torch
from conftest import config_of
from hydra.utils import get_object
from omegaconf import OmegaConf

import ocnet_pl.model.head
from ocnet_pl.build import build_data, build_module, build_protocol
from ocnet_pl.config.compose import compose, heads, plain
from ocnet_pl.config.construct import construct
from ocnet_pl.config.search_path import config_dir, options
from ocnet_pl.config.validate import validate
from ocnet_pl.errors import UserError

GROUPS = sorted(p.relative_to(config_dir()).as_posix() for p in config_dir().rglob("*") if p.is_dir())
OPTIONS = [(group, option) for group in GROUPS for option in options(group)]
FRAGMENTS = {("schedule", "sgd_poly"), ("dataset", "base")}
"""Files that only others include."""

NO_DOWNLOAD = "model.backbone.pretrained=false"


def test_all_files_are_seen() -> None:
    files = {p for p in config_dir().rglob("*.yaml") if p.parent != config_dir()}
    assert {config_dir() / group / f"{option}.yaml" for group, option in OPTIONS} == files


@pytest.mark.parametrize(("group", "option"), [pair for pair in OPTIONS if pair not in FRAGMENTS])
def test_option_composes_and_its_target_exists(group: str, option: str) -> None:
    config = compose(f"{group}={option}")
    node = OmegaConf.select(config, group.replace("/", ".")) if group != "experiment" else None
    if node and "_target_" in node:
        assert callable(get_object(node._target_))


VARIANTS = {
    "aaf": "ppm",
    "asp_oc_2019": "asp_oc",
    "attention_ssl": "attention",
    "ce2p_asp_oc": "ce2p",
    "encnet_lateral": "encnet",
    "sac": "baseline",
}
"""Heads whose YAML is a variant of another file's class."""


def test_heads_and_their_yaml_files_mirror_each_other() -> None:
    files = {path.stem for path in Path(ocnet_pl.model.head.__file__).parent.glob("[!_]*.py")}
    assert files == {VARIANTS.get(name, name) for name in heads()}
    for name in heads():
        module = config_of(name).model.head._target_.rpartition(".")[0]
        assert module == f"ocnet_pl.model.head.{VARIANTS.get(name, name)}"


@pytest.mark.parametrize("option", options("model/backbone"))
def test_backbone_builds_at_stride_eight(option: str) -> None:
    own = ["model.backbone.model_name=resnet34d"] if option == "timm" else []
    config = compose(f"model/backbone={option}", NO_DOWNLOAD, *own)
    backbone = construct(config.model.backbone)
    assert backbone.feature_info.reduction()[-1] == 8


@pytest.mark.parametrize("option", [name for name in options("dataset") if name != "base"])
def test_dataset_builds_without_touching_the_disk(option: str) -> None:
    own = ["dataset.classes=[sky,road]"] if option == "folder" else []
    data = build_data(compose(f"dataset={option}", "dataset.root=/nowhere", *own))
    assert len(data.classes) == len(data.palette)


@pytest.mark.parametrize("option", options("loss"))
def test_module_builds_with_every_loss(option: str) -> None:
    config = compose(f"loss={option}", "dataset=lip", "model/backbone=tiny", "model.head.out_channels=8")
    build_module(config, build_data(config))


def test_the_recipe_of_aaf() -> None:
    config = compose("experiment=aaf")
    assert (config.name, config.row, config.loss.auxiliary_weight) == ("aaf", "aaf", 0)
    assert config.inference.window == config.dataset.crop_size == [720, 720]
    assert config.schedule.lr_scheduler.total_iters == 90_000


@pytest.mark.parametrize("option", [o for o in options("experiment") if o.startswith("table")])
def test_headers_of_tables_give_command_cost_and_numbers_to_expect(option: str) -> None:
    header = (config_dir() / "experiment" / f"{option}.yaml").read_text().split("defaults:")[0]
    assert f"ocnet-train experiment={option}" in header
    assert re.search(r"\d+ hours|nothing is trained", header)
    assert "experiments/paper.yaml" in header


@pytest.mark.parametrize("option", ["bisenet", "dfn"])
def test_a_systems_own_recipe_is_complete(option: str) -> None:
    header = (config_dir() / "experiment" / f"{option}.yaml").read_text().split("defaults:")[0]
    assert f"ocnet-train experiment={option}" in header
    config = compose(f"experiment={option}")
    assert config.name == config.row == option
    assert config.model.head.label == config_of(option).model.head.label
    assert (config.schedule.max_steps, config.schedule.batch_size, config.schedule.head_lr_factor) == (80000, 16, 10)
    assert not config.loss.class_weights
    assert config.inference.window == config.dataset.crop_size


def test_the_recipe_of_ce2p() -> None:
    header = (config_dir() / "experiment" / "ce2p.yaml").read_text().split("defaults:")[0]
    assert "ocnet-train experiment=ce2p" in header
    config = compose("experiment=ce2p")
    assert config.name == config.row == "ce2p"
    assert (config.schedule.max_steps, config.schedule.batch_size, config.schedule.lr) == (115000, 40, 0.007)
    assert config.dataset.size == config.dataset.crop_size == [473, 473]
    assert (config.model.backbone.model_name, config.model.backbone.output_stride) == ("resnet101", 16)
    assert (config.loss.auxiliary_weight, config.inference.flip) == (0, True)


def test_bisenet_mines_a_sixteenth_of_the_pixels_on_every_classifier() -> None:
    config = compose("experiment=bisenet")
    height, width = config.dataset.crop_size
    assert config.loss.main.min_kept == config.schedule.batch_size // 4 * height * width // 16
    assert config.loss.auxiliary == config.loss.main


def test_a_config_is_plain_values() -> None:
    config = plain(compose("model/head=gp"))
    assert config["row"] == "gp"
    assert "hydra" not in config


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("model/head=basoc", "did you mean model/head=base_oc?"),
        ("model/head=zzz", "choose one of aaf, asp_oc"),
        ("schedule.max_step=3", "did you mean schedule.max_steps?"),
        ("lr=3", "did you mean schedule.lr?"),
        ("modle/head=asp_oc", "did you mean model/head?"),
        ("no override", "key=value"),
    ],
)
def test_a_wrong_override_is_explained(override: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        compose(override)
    assert words in str(caught.value)


@pytest.mark.parametrize("override", ["schedule.max_steps=abc", "schedule.lr=true", "compile=3"])
def test_a_value_of_another_kind_is_refused(override: str) -> None:
    with pytest.raises(UserError, match=f"^{override}: expected "):
        validate(compose(override), [override])


@pytest.mark.parametrize(
    "override",
    ["seed=-1", "seed=1.5", "threads=0", "threads=-1", "schedule.lr=-1", "schedule.lr=nan", "schedule.val_every=0",
     "schedule.max_steps=-1", "schedule.max_steps=2.5", "schedule.batch_size=0", "trainer.accumulate_grad_batches=0",
     "evaluate_on=[]", "evaluate_on=val", "name=../evil", "name=/evil", "row=a/../../b", "row=a/b", "row=null"],
)  # fmt: skip
def test_a_value_that_no_run_can_have_is_refused(override: str) -> None:
    with pytest.raises(UserError, match=f"^{override.split('=')[0]}=.*: expected "):
        validate(compose(override))


@pytest.mark.parametrize(
    "override",
    ["dataset.crop_size=[64]", "dataset.crop_size=[0,0]", "dataset.crop_size=[64,128,3]", "dataset.scale=[2.0,0.5]",
     "dataset.scale=[0,0]", "dataset.scale_step=0", "dataset.num_workers=-1", "dataset.val_batch_size=0",
     "demo dataset.image_size=[64]", "demo dataset.num_images.val=0", "lip dataset.size=[473]",
     "lip dataset.size=[0,473]", "ade20k dataset.short_sides=[]", "ade20k dataset.short_sides=[0]",
     "dataset.class_weights=[a,b]", "dataset.class_weights=[-1]", "ade20k dataset.max_long_side=0",
     "ade20k dataset.test_short_side=4.5"],
)  # fmt: skip
def test_a_data_set_refuses_impossible_settings(override: str) -> None:
    *dataset, value = override.split()
    with pytest.raises(UserError) as caught:
        build_data(compose(f"dataset={(dataset or ['cityscapes'])[0]}", "dataset.root=data", value))
    assert str(caught.value).startswith(value.split(",")[0])


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("evaluate_on=val", "expected a list, e.g. [val]"),
        ("dataset.crop_size=64", "expected a list, e.g. [769,769]"),
        ("dataset.augment=null", "expected a list, e.g. []"),
        ("model.head=asp_oc", "choose it as model/head=asp_oc"),
        ("schedule.optimizer=adam", "change one of them, e.g. schedule.optimizer.NAME=VALUE"),
    ],
)
def test_a_word_for_a_list_or_a_group_is_refused(override: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        validate(compose(override), [override])
    assert words in str(caught.value)


def test_deterministic_may_be_warn() -> None:
    validate(compose("trainer.deterministic=warn"), ["trainer.deterministic=warn"])


@pytest.mark.parametrize("dataset", ["cityscapes", "ade20k", "lip", "demo"])
def test_every_data_set_has_every_protocol(dataset: str) -> None:
    for inference in options("inference"):
        config = compose(f"dataset={dataset}", f"inference={inference}", "dataset.root=data")
        assert build_protocol(config, build_data(config))


def test_class_weights_may_be_whole_numbers() -> None:
    weights = f"dataset.class_weights=[{','.join(['1', '2'] * 4)}]"
    config = compose("dataset=demo", "model/backbone=tiny", weights)
    module = build_module(config, build_data(config))
    loss = module.loss(torch.randn(1, 8, 4, 4), torch.randint(8, (1, 4, 4)))
    assert loss > 0


def test_an_integer_may_replace_a_float() -> None:
    overrides = ["schedule.lr=1", "model/head=gp", "model.head.dropout=0"]
    validate(compose(*overrides), overrides)
