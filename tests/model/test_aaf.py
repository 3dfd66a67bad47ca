"""Adaptive affinity fields against golden numbers; what the loss asks of module and optimizer."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from golden_numbers import SEEN, assert_gradient, golden_file
from torch import Tensor, nn

from ocnet_pl.build import build_bare_module
from ocnet_pl.config.compose import compose
from ocnet_pl.loss import aaf
from ocnet_pl.loss.aaf import AdaptiveAffinityFields
from ocnet_pl.model.layers import subsample

SIZES = (1, 2, 3)
Change = Callable[[AdaptiveAffinityFields, pytest.MonkeyPatch], None]


def golden_loss(**arguments: Any) -> tuple[AdaptiveAffinityFields, dict[str, Tensor]]:
    golden = golden_file("aaf")
    loss = AdaptiveAffinityFields(5, **arguments)
    if loss.sizes == SIZES:
        weights = {"edge_scores": golden["raw_edge_weight"], "other_scores": golden["raw_not_edge_weight"]}
        loss.load_state_dict(weights)
    return loss, golden


def test_each_field() -> None:
    loss, golden = golden_loss()
    edge, other = loss.fields(golden["logits"], golden["label"])
    torch.testing.assert_close(edge, torch.cat([golden[f"size{size}/edge"] for size in SIZES]), rtol=1e-5, atol=0)
    torch.testing.assert_close(other, torch.cat([golden[f"size{size}/not_edge"] for size in SIZES]), rtol=1e-5, atol=0)
    torch.testing.assert_close(loss(golden["logits"], golden["label"]), golden["total"][0], rtol=1e-5, atol=0)


def test_all_gradients_and_the_weights_ascend() -> None:
    loss, golden = golden_loss()
    logits = golden["logits"].requires_grad_()
    loss(logits, golden["label"]).backward()
    assert_gradient(logits.grad, golden["grad_logits"])
    assert_gradient(loss.edge_scores.grad, -golden["grad_raw_edge_weight"])
    assert_gradient(loss.other_scores.grad, -golden["grad_raw_not_edge_weight"])


def test_a_single_size_is_the_plain_affinity_field() -> None:
    loss, golden = golden_loss(sizes=[1])
    logits = golden["logits"].requires_grad_()
    edge, other = loss.fields(logits, golden["label"])
    torch.testing.assert_close(edge, golden["plain/edge"], rtol=1e-5, atol=0)
    torch.testing.assert_close(other, golden["plain/not_edge"], rtol=1e-5, atol=0)
    (edge + other).sum().backward()
    assert_gradient(logits.grad, golden["plain/grad_logits"])


def test_the_pairs_are_those_of_the_golden_file() -> None:
    _, golden = golden_loss()
    for size in SIZES:
        pairs = aaf._Pairs(golden["logits"], golden["label"], 3, 255)
        shifts = [(y, x) for y in (-size, 0, size) for x in (-size, 0, size) if y or x]
        counts = [sum(int(pairs.at(shift)[kind].sum()) for shift in shifts) for kind in (1, 2)]
        assert counts == golden[f"size{size}/counts"].tolist()


# Any change would be seen.


def attribute(name: str, value: object) -> Change:
    return lambda loss, patch: setattr(loss, name, value)


def exchanged(loss: AdaptiveAffinityFields, patch: pytest.MonkeyPatch) -> None:
    loss.edge_scores, loss.other_scores = loss.other_scores, loss.edge_scores


def shifted(name: str, axis: int) -> Change:
    def change(loss: AdaptiveAffinityFields, patch: pytest.MonkeyPatch) -> None:
        parameter = loss.get_parameter(name)
        parameter.data = parameter.data.roll(1, axis)

    return change


def softmax_over_classes(loss: AdaptiveAffinityFields, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Tensor, "softmax", lambda scores, dim: torch.softmax(scores, 0 if scores.ndim == 2 else dim))


def pairs(at: Callable[..., tuple[Tensor, Tensor, Tensor]]) -> Change:
    usual = aaf._Pairs.at
    return lambda loss, patch: patch.setattr(aaf._Pairs, "at", lambda pairs, shift: at(pairs, shift, usual))


def without_the_opposite(pairs: Any, shift: tuple[int, int], usual: Any) -> tuple[Tensor, Tensor, Tensor]:
    kept = (pairs._seen(pairs.labelled, (0, 0)) & pairs._seen(pairs.labelled, shift)).unsqueeze(1)
    differs = pairs._seen(pairs.is_class, (0, 0)) != pairs._seen(pairs.is_class, shift)
    return usual(pairs, shift)[0], differs & kept, ~differs & kept


def from_the_centre(pairs: Any, shift: tuple[int, int], usual: Any) -> tuple[Tensor, Tensor, Tensor]:
    logarithm = pairs._seen(pairs.logarithm, (0, 0)) - pairs._seen(pairs.logarithm, shift)
    return (pairs._seen(pairs.probability, (0, 0)) * logarithm).sum(0), *usual(pairs, shift)[1:]


def of_the_class_alone(pairs: Any, shift: tuple[int, int], usual: Any) -> tuple[Tensor, Tensor, Tensor]:
    logarithm = pairs._seen(pairs.logarithm, shift) - pairs._seen(pairs.logarithm, (0, 0))
    return (pairs._seen(pairs.probability, shift) * logarithm)[0], *usual(pairs, shift)[1:]


def edges_of_both_kinds(pairs: Any, shift: tuple[int, int], usual: Any) -> tuple[Tensor, Tensor, Tensor]:
    divergence, edge, other = usual(pairs, shift)
    return divergence, edge, other & ~edge.any(1, keepdim=True)


def one_side_only(pairs: Any, shift: tuple[int, int], usual: Any) -> tuple[Tensor, Tensor, Tensor]:
    divergence, edge, other = usual(pairs, shift)
    return divergence, edge & pairs._seen(pairs.is_class, (0, 0)), other


def smallest(value: float) -> Change:
    return lambda loss, patch: patch.setattr(aaf, "_SMALLEST", value)


def all_in_one_mean(loss: AdaptiveAffinityFields, patch: pytest.MonkeyPatch) -> None:
    usual = aaf._Mean.add
    patch.setattr(aaf._Mean, "add", lambda mean, values, mask: usual(mean, values * mask, torch.ones_like(mask)))


CHANGES: dict[str, Change] = {
    "sizes": attribute("sizes", (1, 2, 4)), "order of sizes": attribute("sizes", (3, 2, 1)),
    "margin": attribute("margin", 2.9), "lambda 1": attribute("edge_weight", 1.01),
    "lambda 2": attribute("other_weight", 1.01), "decay": attribute("progress", 0.01), "exchanged": exchanged,
    "edge, other size": shifted("edge_scores", 1), "edge, other class": shifted("edge_scores", 0),
    "rest, other size": shifted("other_scores", 1), "rest, other class": shifted("other_scores", 0),
    "softmax over classes": softmax_over_classes, "opposite": pairs(without_the_opposite),
    "direction of KL": pairs(from_the_centre), "Bernoulli": pairs(of_the_class_alone),
    "pairs of other classes": pairs(edges_of_both_kinds), "one side": pairs(one_side_only),
    "smallest probability": smallest(1e-2), "one mean": all_in_one_mean,
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_any_change_would_be_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loss, golden = golden_loss()
    CHANGES[name](loss, monkeypatch)
    changed = loss(golden["logits"], golden["label"])
    assert (changed - golden["total"][0]).abs() > SEEN * golden["total"][0]


def test_the_partners_weights_would_be_seen() -> None:
    """The weights are those of the central pixel's label: a label of its partner changes masks alone."""
    loss, golden = golden_loss()
    with torch.no_grad():
        loss.edge_scores[:, 0] = 10.0  # the first size alone counts
        loss.other_scores[:, 0] = 10.0
        label = torch.zeros(1, 3, 3, dtype=torch.long)
        label[0, 1, 1] = 1
        loss.edge_scores[0, 0] = -10.0
        edge, _ = loss.fields(golden["logits"][:1, :, :3, :3], label)
    assert edge[0] > 0.1, "of the centre, class 1"
    assert float(edge[1:].abs().max()) == 0, "no pair at other sizes"


# Beyond the golden numbers.


@pytest.mark.parametrize("label", [torch.full((2, 9, 11), 255), torch.zeros(2, 9, 11, dtype=torch.long)])
@pytest.mark.parametrize("shape", [(9, 11), (3, 4), (1, 1)])
def test_a_batch_without_pairs_gives_zero_and_all_gradients(label: Tensor, shape: tuple[int, int]) -> None:
    loss = AdaptiveAffinityFields(5)
    logits = torch.randn(2, 5, *shape, requires_grad=True)
    value = loss(logits, label[:, : shape[0], : shape[1]])
    value.backward()
    assert value.isfinite()
    if (label == 255).all() or shape == (1, 1):
        assert value == 0
    for gradient in (logits.grad, loss.edge_scores.grad, loss.other_scores.grad):
        assert gradient is not None, "another process waits for every gradient"
        assert gradient.isfinite().all()


def test_the_loss_falls_to_a_tenth() -> None:
    loss, golden = golden_loss()
    values = []
    for loss.progress in (0.0, 0.5, 1.0):
        values.append(loss(golden["logits"], golden["label"]).item())
    assert values[1:] == pytest.approx([values[0] * 10**-0.5, values[0] * 0.1])


def test_half_precision_logits_are_lifted() -> None:
    loss, golden = golden_loss()
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(golden["logits"].bfloat16(), golden["label"])
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(golden["logits"].bfloat16().float(), golden["label"]))


def test_labels_are_those_under_the_positions_of_the_map() -> None:
    label = torch.randint(19, (2, 769, 33))
    assert torch.equal(subsample(label, (97, 5)), label[:, ::8, ::8])
    assert subsample(label, (769, 33)) is label
    assert torch.equal(subsample(label, (1, 1)), label[:, :1, :1])
    positions = torch.arange(65.0).view(1, 1, 65).expand(1, 60, 65)  # a side that does not fit
    torch.testing.assert_close(subsample(positions, (8, 9))[0, 0], torch.arange(9.0) * 8)
    assert subsample(positions.mT, (9, 8)).shape == (1, 9, 8)


def module(*overrides: str) -> Any:
    narrow = ("model/backbone=tiny", "model.head.out_channels=8", "model.auxiliary_channels=8")
    return build_bare_module(compose("loss=aaf", "model/head=ppm", *narrow, *overrides), 5)


def test_the_loss_reads_logits_at_the_maps_size() -> None:
    built = module().train()
    seen = []
    loss = built.additional_losses["affinity"]
    loss.register_forward_pre_hook(lambda _, inputs: seen.append([one.shape for one in inputs]))
    batch = {"image": torch.zeros(2, 3, 65, 97, dtype=torch.uint8), "label": torch.zeros(2, 65, 97)}
    assert set(built.terms(batch)) == {"main", "auxiliary", "affinity"}
    assert seen == [[(2, 5, 9, 13), (2, 9, 13)]]


def test_a_loss_at_full_size_reads_what_it_read_before() -> None:
    built = module().train()
    built.additional_losses["whole"] = nn.CrossEntropyLoss(ignore_index=255)
    batch = {"image": torch.zeros(2, 3, 64, 64, dtype=torch.uint8), "label": torch.zeros(2, 64, 64)}
    terms = built.terms(batch)
    torch.testing.assert_close(terms["whole"], terms["main"])


def test_weights_of_losses_have_no_decay_and_the_backbones_rate() -> None:
    built = module("schedule.head_lr_factor=10", "schedule.lr=0.01", "schedule.weight_decay=0.1")
    optimizer = built.configure_optimizers()["optimizer"]
    groups = {group["name"]: group for group in optimizer.param_groups}
    assert {name: (group["initial_lr"], group["weight_decay"]) for name, group in groups.items()} == {
        "backbone": (0.01, 0.1),
        "head": (0.1, 0.1),
        "losses": (0.01, 0.0),
    }
    loss = built.additional_losses["affinity"]
    assert {id(p) for p in groups["losses"]["params"]} == {id(loss.edge_scores), id(loss.other_scores)}


def test_options_of_the_config_are_those_of_the_class() -> None:
    loss = module().additional_losses["affinity"]
    default = AdaptiveAffinityFields(5)
    names = ("sizes", "margin", "edge_weight", "other_weight", "final_factor", "ignore_index", "num_classes")
    assert [getattr(loss, name) for name in names] == [getattr(default, name) for name in names]
