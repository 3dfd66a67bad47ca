import copy
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from conftest import Main, config_of
from hydra.utils import get_class
from results import result
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ocnet_pl.config.compose import heads
from ocnet_pl.errors import UserError
from ocnet_pl.model.attention import attend, textbook_attention
from ocnet_pl.model.head.base_oc import BaseOC
from ocnet_pl.model.head.gp import GP
from ocnet_pl.model.head.pyramid_oc import PyramidOC
from ocnet_pl.record.costs import Cost, find_costs, read_costs, write_costs
from ocnet_pl.report.files import comma_separated, html, markdown
from ocnet_pl.table import read_tables
from ocnet_pl.tools.cost.measuring import lone_norms, measure, multiply_adds
from ocnet_pl.tools.cost.profiling import head_configs

CPU = torch.device("cpu")
FAST = ("--backbone", "tiny", "--size", "64", "--repeats", "1", "--device", "cpu")


def cost(head: str, attention: str = "mapless", parameters: int = 3, train_step_ms: float | None = 21.5) -> Cost:
    return Cost(head, attention, parameters, 2_000_000_000, 5.25, train_step_ms, None, 1234.5, "an abacus, 8x8")


def test_multiply_adds_equal_those_counted_by_hand() -> None:
    head, (height, width), batch = BaseOC(6, 8, key_channels=4), (9, 11), 2
    n = height * width
    reduce, key, value, project, fuse = 9 * 6 * 8, 8 * 4, 8 * 4, 4 * 8, 16 * 8
    by_hand = batch * (n * (reduce + key + value + project + fuse) + n * n * (4 + 4))
    assert multiply_adds(head, torch.empty(batch, 6, height, width)) == by_hand


def test_attention_in_cells_costs_less() -> None:
    n = 12 * 12
    reduce, identity, key, value, project, fuse = 9 * 6 * 8, 8 * 32, 8 * 4, 8 * 8, 8 * 8, (32 + 4 * 8) * 8
    attention = sum(n * (n // grid**2) * (4 + 8) for grid in (1, 2, 3, 6))
    by_hand = n * (reduce + identity + 4 * (key + value + project) + fuse) + attention
    assert multiply_adds(PyramidOC(6, 8), torch.empty(1, 6, 12, 12)) == by_hand


def test_batches_have_the_targets_that_a_head_needs(
    call: Main, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {}

    class Posed(GP):  # not GP itself: Python remembers which classes fit a protocol
        needed_targets: ClassVar[dict[str, tuple[int, ...]]] = {"pose": (16, 3), "depth": ()}

        def supervised(self, *maps: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
            return self(*maps), {}

        def losses(self, extras: object, batch: dict[str, torch.Tensor], criterion: object) -> dict[str, torch.Tensor]:
            seen.update(batch)
            return {"pose": 0 * batch["pose"].sum()}

    monkeypatch.setattr("ocnet_pl.model.head.gp.GP", Posed)
    assert call("profile", "--heads", "gp", *FAST, "--batch", "2") == 0
    assert seen["pose"].shape == (2, 16, 3)
    assert seen["depth"].shape == (2, 64, 64)
    assert ((seen["pose"] >= 0) & (seen["pose"] < 64)).all()


@pytest.mark.skipif(torch.__version__ < (2, 14), reason="torch 2.6 counts no operations of a CPU's fused kernel")
@pytest.mark.parametrize(("value_width", "more_products"), [(8, 0), (16, 1), (32, 3)])
def test_torch_counts_the_fused_kernel(value_width: int, more_products: int) -> None:
    n, d = 30, 8
    inputs = [torch.randn(1, n, width) for width in (d, d, value_width)]
    counts = []
    for form in (textbook_attention(), nullcontext()):
        with form, FlopCounterMode(display=False) as counter:
            attend(*inputs)
        counts.append(counter.get_total_flops() // 2)
    assert counts == [n * n * (d + value_width), n * n * (d + value_width) + more_products * n * n * d]


def test_counting_leaves_the_module_alone() -> None:
    head = BaseOC(4, 4)
    before = copy.deepcopy(head.state_dict())
    multiply_adds(head.train(), torch.empty(1, 4, 8, 8))
    assert head.training
    torch.testing.assert_close(head.state_dict(), before)


def test_untrainable_norms_are_found() -> None:
    assert lone_norms(GP(4, 4), torch.empty(1, 4, 8, 8)) == ["pool.reduce.1"]
    assert lone_norms(GP(4, 4), torch.empty(2, 4, 8, 8)) == []


@pytest.mark.parametrize("value_width", [8, 16])
def test_the_stored_map_shows_in_the_peak(value_width: int) -> None:
    inputs = [torch.randn(1, 4000, width, requires_grad=True) for width in (8, 8, value_width)]
    peaks = []
    for form in (nullcontext(), textbook_attention()):
        with form:
            peaks.append(measure(lambda: attend(*inputs).sum().backward(), CPU, 1).peak)
    if None in peaks:
        pytest.skip("this system reports no peak")
    the_map = 4000 * 4000 * 4
    assert peaks[0] < the_map / 2  # type: ignore[operator]
    assert peaks[1] - peaks[0] > the_map  # type: ignore[operator]


def test_an_operation_that_does_not_fit_has_no_numbers() -> None:
    def explode() -> None:
        raise torch.OutOfMemoryError

    measurement = measure(explode, CPU, 1)
    assert (measurement.seconds, measurement.peak) == (None, None)
    with pytest.raises(RuntimeError, match="shape"):
        measure(lambda: torch.empty(2, 3) @ torch.empty(2, 3), CPU, 1)


@pytest.mark.parametrize("lines", [["head,attention", "gp,"], ["a"], ["head", "gp", "x,y"]])
def test_another_csv_is_rejected(tmp_path: Path, lines: list[str]) -> None:
    (tmp_path / "profile.csv").write_text("\n".join([*lines, "1"]) + "\n")
    with pytest.raises(UserError, match="not a file of ocnet-profile"):
        read_costs(tmp_path / "profile.csv")


def test_costs_read_back(tmp_path: Path) -> None:
    costs = [cost("gp", ""), cost("base_oc"), cost("base_oc", "explicit", train_step_ms=None)]
    write_costs(tmp_path / "new" / "profile.csv", costs)
    assert read_costs(tmp_path / "new" / "profile.csv") == costs
    sweep = tmp_path / "new" / "demo"
    assert find_costs(sweep) == {"gp": costs[0], "base_oc": costs[1]}
    write_costs(sweep / "profile.csv", costs[:1])
    assert find_costs(sweep) == {"gp": costs[0]}
    assert find_costs(tmp_path) == {}


def test_every_head_is_profiled(call: Main, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("profile", *FAST, "--classes", "5") == 0
    costs = read_costs(workplace / "outputs" / "profile.csv")
    names = [c.head for c in costs]
    assert sorted(names) == heads()
    classes = {head: get_class(config_of(head).model.head._target_) for head in names}
    attending = {head for head, head_class in classes.items() if hasattr(head_class, "attended")}
    mapless = {c.head for c in costs if c.attention == "mapless"}
    assert {c.attention for c in costs} == {"", "mapless"}
    # A head may attend without the fused kernels, if its map is small: that of CCNet is.
    attending.add("ce2p_asp_oc")  # attends through its context module
    assert {"base_oc", "pyramid_oc", "asp_oc", "danet", "isa", "non_local", "ocr"} <= mapless <= attending
    assert all(c.forward_ms and c.train_step_ms for c in costs)
    printed = capsys.readouterr().out
    assert "Pyramid-OC" in printed
    assert "tiny, 64x64, batch 1, precision 32, fastest of 1" in printed
    assert "evaluation mode" in printed
    assert "wrote outputs/profile.csv" in printed


def test_both_forms_of_attention_are_compared(call: Main, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--heads", "pyramid_oc", "gp", "--explicit-attention", "--csv", "here.csv")
    assert call("profile", *FAST, *arguments) == 0
    mapless, explicit, gp = read_costs(workplace / "here.csv")
    assert [(c.head, c.attention) for c in (mapless, explicit, gp)] == [
        ("pyramid_oc", "mapless"), ("pyramid_oc", "explicit"), ("gp", "")
    ]  # fmt: skip
    assert mapless.multiply_adds == explicit.multiply_adds
    assert mapless.parameters == explicit.parameters
    printed = capsys.readouterr().out
    assert printed.count("ratio") == 1


def test_batches_of_bf16_on_any_timm_backbone(call: Main, workplace: Path) -> None:
    arguments = ("--size", "64x96", "--batch", "2", "--precision", "bf16", "--heads", "gp", "--repeats", "1")
    assert call("profile", "--device", "cpu", "--backbone", "test_resnet", *arguments) == 0
    assert call("profile", "--device", "cpu", "--backbone", "tiny", *arguments, "--csv", "tiny.csv") == 0
    by_name, by_option = (read_costs(workplace / path)[0] for path in ("outputs/profile.csv", "tiny.csv"))
    assert by_name.multiply_adds == by_option.multiply_adds
    assert "64x96, batch 2, precision bf16" in by_name.conditions


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--heads", "base_co"), "did you mean model/head=base_oc?"),
        (("--backbone", "resnet101t"), "timm has no such network"),
        (("--size", "7x"), "HEIGHTxWIDTH"),
        (("--size", "8"), "at least 64"),
        (("--batch", "0"), "--batch: 0: expected a whole number from 1"),
        (("--classes", "300"), "from 1 to 255"),
        (("--csv", "."), "cannot be written"),
    ],
)
def test_wrong_input_is_one_line(
    call: Main, workplace: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    assert call("profile", *FAST, *arguments) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("ocnet-profile: error: ")
    assert words in line


def test_a_missing_gpu_is_reported(
    call: Main, workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert call("profile", *FAST, "--device", "cuda") == 2
    assert "no CUDA device" in capsys.readouterr().err
    assert not (workplace / "outputs").exists()


def test_the_report_shows_costs(tmp_path: Path) -> None:
    sweep = tmp_path / "table1"
    for row in ("baseline", "base_oc"):
        result(row, 0, 80).write(sweep / row / "seed-0" / "result.json")
    (table,) = read_tables(sweep)
    assert "GMACs" not in markdown(table)
    write_costs(tmp_path / "profile.csv", [cost("base_oc"), cost("base_oc", "explicit", train_step_ms=99)])
    (table,) = read_tables(sweep)
    for text in (markdown(table), html(table)):
        for words in ("Params (M)", "GMACs", "Train step (ms)", "Memory (MB)", "21.5", "an abacus, 8x8"):
            assert words in text
        assert "Costs not shown" not in text
    baseline, base_oc = [line for line in markdown(table).splitlines() if line.startswith("| ResNet")]
    assert "| - | - | - | - |" in baseline
    assert "| 3e-06 | 2 | 21.5 | 1234 |" in base_oc
    assert "table1,base_oc,profile,train_step_ms,,21.5," in comma_separated(table)


def test_costs_of_other_networks_are_not_shown(tmp_path: Path) -> None:
    overrides = ["model/head=gp", "seed=0", "experiment=demo"]
    run = result("gp", 0, 80, "demo", overrides=overrides)
    run = replace(run, choices=run.choices | {"model/backbone": "tiny"})
    run.write(tmp_path / "gp" / "seed-0" / "result.json")
    write_costs(tmp_path / "profile.csv", [cost("gp", "", parameters=4)])
    (table,) = read_tables(tmp_path)
    path = tmp_path / "profile.csv"
    for text in (markdown(table), html(table)):
        assert "GMACs" not in text
        assert f"Costs not shown: {path} is of other networks (GP: 4 weights there, 3 here)." in text
        assert f"ocnet-profile experiment=demo --backbone tiny --classes 2 --csv {path}" in text
    assert "profile" not in comma_separated(table)


def test_an_experiment_sets_the_measured_networks() -> None:
    paper, demo = (
        head_configs(["gp"], "tiny", overrides)["gp"].model.head.out_channels for overrides in ([], ["experiment=demo"])
    )
    assert (paper, demo) == (512, 64)


def test_a_module_without_attention_is_counted_too() -> None:
    assert multiply_adds(nn.Conv2d(3, 5, 3, padding=1), torch.empty(2, 3, 7, 7)) == 2 * 49 * 9 * 15
