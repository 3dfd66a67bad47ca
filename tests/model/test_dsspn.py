"""Our reading of DSSPN against plain formulas: there is no public code and there are no golden numbers."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from changes import Change, layers_of, leaky, shifted, weights_of, without
from conftest import SHORT, TINY, Main
from golden_numbers import SEEN, relative_difference
from torch import Tensor, nn
from trees import ade20k_tree, folder_tree, lip_tree

import ocnet_pl
from ocnet_pl.arguments import ArgumentError
from ocnet_pl.build import build_bare_module, build_network
from ocnet_pl.config.compose import compose
from ocnet_pl.dataset.ade20k import ADE20K
from ocnet_pl.dataset.cityscapes import Cityscapes
from ocnet_pl.errors import UserError
from ocnet_pl.loss.cross_entropy import CrossEntropy
from ocnet_pl.model.contract import ClassTree
from ocnet_pl.model.head.dsspn import DSSPN
from ocnet_pl.record.result import Result
from ocnet_pl.tools.cost.profiling import _class_tree

TREE = {"b": (3, 0), "alone": (2,), "a": (5, 1, 4)}
"""Classes in another order than their train ids, and a group of one class."""


def dsspn(tree: ClassTree = TREE) -> DSSPN:
    """A head in which no weight or statistic has a value that hides a mistake."""
    head = DSSPN(4, 6, tree, 8, neuron_channels=3, bottleneck_channels=5).eval()
    generator = torch.Generator().manual_seed(0)
    for name, tensor in head.state_dict().items():
        if name.endswith("running_var"):
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
        elif tensor.is_floating_point():
            tensor.copy_(torch.randn(tensor.shape, generator=generator) / 2)
    return head


def features(batch: int = 2) -> Tensor:
    return torch.randn(batch, 4, 5, 6, generator=torch.Generator().manual_seed(1))


def joined(neuron: nn.Module, ancestors: Tensor) -> tuple[Tensor, Tensor]:
    """A neuron in the plain form: one classifier on its features, joined with those of its ancestors."""
    own = neuron.features(ancestors)  # type: ignore[operator]
    weight = torch.cat([neuron.of_own.weight, neuron.of_ancestors.weight], 1)  # type: ignore[union-attr, list-item]
    return own, F.conv2d(torch.cat([own, ancestors], 1), weight, neuron.of_own.bias)  # type: ignore[union-attr, arg-type]


def reference(head: DSSPN, inputs: Tensor) -> Tensor:
    """Probabilities of the classes, as products along the paths."""
    reduced = head.reduce(inputs)
    of_root, root = joined(head.root, reduced)
    b, a = (joined(neuron, torch.cat([reduced, of_root], 1))[1].softmax(1) for neuron in head.groups)
    group = root.softmax(1)
    by_class = [
        group[:, 0] * b[:, 1], group[:, 2] * a[:, 1], group[:, 1], group[:, 0] * b[:, 0], group[:, 2] * a[:, 2],
        group[:, 2] * a[:, 0],
    ]  # fmt: skip
    return torch.stack(by_class, 1)


@torch.no_grad()
def test_probabilities_are_products_along_the_paths() -> None:
    head = dsspn()
    torch.testing.assert_close(head(features()).exp(), reference(head, features()))
    torch.testing.assert_close(head(features()).exp().sum(1), torch.ones(2, 5, 6))


def difference(change: Change) -> float:
    head = dsspn()
    with torch.no_grad():
        before = head(features())
        change(head)
        return relative_difference(head(features()), before)


@pytest.mark.parametrize("layer", layers_of(dsspn()))
def test_a_missing_norm_or_activation_would_be_seen(layer: str) -> None:
    assert difference(without(layer)) > SEEN


@pytest.mark.parametrize("parameter", weights_of(dsspn()))
def test_every_weight_matters(parameter: str) -> None:
    assert difference(shifted(parameter)) > SEEN


def test_a_leaky_activation_would_be_seen() -> None:
    assert difference(leaky) > SEEN


def losses_of(head: DSSPN, label: Tensor) -> tuple[Tensor, Tensor]:
    _, extras = head.supervised(features())
    terms = head.losses(extras, {"label": label}, CrossEntropy(weight=torch.arange(1.0, 7)))
    assert set(terms) == {"neurons"}
    return terms["neurons"], F.interpolate(extras["neurons"], (33, 41), mode="bilinear", align_corners=True)


def test_every_neuron_is_trained_on_the_pixels_below_it() -> None:
    label = torch.randint(6, (2, 33, 41), generator=torch.Generator().manual_seed(2)).to(torch.uint8)
    label[:, :9] = 255
    loss, logits = losses_of(dsspn(), label)
    root, b, a = logits.split([3, 2, 3], 1)

    def of_neuron(of: Tensor, child: dict[int, int]) -> Tensor:
        target = torch.full_like(label, 255).long()
        for train_id, number in child.items():
            target[label == train_id] = number
        return F.cross_entropy(of, target, ignore_index=255)

    of_root = of_neuron(root, {3: 0, 0: 0, 2: 1, 5: 2, 1: 2, 4: 2})
    torch.testing.assert_close(loss, (of_root + of_neuron(b, {3: 0, 0: 1}) + of_neuron(a, {5: 0, 1: 1, 4: 2})) / 3)

    label[(label != 0) & (label != 3)] = 255  # the third neuron has no pixels: the mean is over two
    loss, logits = losses_of(dsspn(), label)
    root, b, a = logits.split([3, 2, 3], 1)
    torch.testing.assert_close(loss, (of_neuron(root, {3: 0, 0: 0}) + of_neuron(b, {3: 0, 0: 1})) / 2)


def test_the_weight_of_the_losses() -> None:
    label = torch.randint(6, (2, 33, 41), generator=torch.Generator().manual_seed(2)).to(torch.uint8)
    head = dsspn()
    plain, _ = losses_of(head, label)
    head.neuron_weight = 0.3
    torch.testing.assert_close(losses_of(head, label)[0], 0.3 * plain)


def test_neurons_without_pixels_get_no_gradient_from_the_others() -> None:
    """At the head's own stride: interpolated log-probabilities are normalised again by the loss."""
    head = dsspn()
    label = torch.full((2, 5, 6), 3)
    loss = losses_of(head, label.to(torch.uint8))[0] + F.cross_entropy(head(features()), label)
    loss.backward()
    b, a = head.groups
    assert b.of_own.weight.grad is not None
    assert b.of_own.weight.grad.any()
    assert a.of_own.weight.grad is not None
    assert a.of_own.weight.grad.abs().max() < 1e-7


def test_every_parameter_gets_a_gradient_without_any_label() -> None:
    head = dsspn().train()
    output, extras = head.supervised(features())
    terms = head.losses(extras, {"label": torch.full((2, 33, 41), 255, dtype=torch.uint8)}, CrossEntropy())
    assert terms["neurons"].item() == 0
    (terms["neurons"] + 0 * output.sum()).backward()
    assert all(p.grad is not None for p in head.parameters()), "another process waits for every gradient"


@pytest.mark.parametrize(
    "tree",
    [
        {"a": (0, 1, 2)}, {"a": (0, 1, 2, 3), "b": (3, 4, 5)}, {"a": (0, 1, 2), "b": (3, 4, 6)},
        {"a": (0, 1, 2, 3, 4, 5), "b": ()}, {},
    ],
)  # fmt: skip
def test_a_tree_of_other_classes_is_refused(tree: ClassTree) -> None:
    with pytest.raises(ArgumentError, match=r"^class_tree=.*: expected groups of train ids in which 0 to 5 occur once"):
        DSSPN(4, 6, tree)


@torch.no_grad()
def test_weights_keep_their_classes_in_a_tree_of_another_order() -> None:
    head, other = dsspn(), dsspn({"b": (0, 3), "alone": (4,), "a": (1, 2, 5)})
    other.load_state_dict(head.state_dict())
    torch.testing.assert_close(other(features()), head(features()))


def parameters(num_classes: int, tree: ClassTree | None) -> int:
    config = compose("model/head=dsspn", "model/backbone=resnet50", "model.backbone.pretrained=false")
    network = build_network(config, num_classes, auxiliary=False, class_tree=tree)
    return sum(p.numel() for p in network.head.parameters())


@pytest.mark.parametrize(("data", "neurons", "count"), [(Cityscapes, 7, 5_710_921), (ADE20K, 27, 8_599_104)])
def test_the_number_of_parameters(data: type[Cityscapes] | type[ADE20K], neurons: int, count: int) -> None:
    def neuron(channels: int, children: int) -> int:
        return channels * 192 + 2 * 192 + 9 * 192 * 48 + 2 * 48 + (channels + 48 + 1) * children

    assert data.class_tree is not None
    branching = [len(group) for group in data.class_tree.values() if len(group) > 1]
    assert len(branching) + 1 == neurons
    expected = 9 * 2048 * 256 + 2 * 256 + neuron(256, len(data.class_tree))
    expected += sum(neuron(256 + 48, children) for children in branching)
    assert parameters(len(data.classes), data.class_tree) == expected == count


# The tree comes from the data set.


def test_a_data_set_without_a_tree_is_refused_in_one_line(
    workplace: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    folder_tree(workplace / "tree", train=[(32, 64)] * 4, val=[(32, 64)])
    given = ("dataset=folder", "dataset.root=tree", "dataset.classes=[a,b,c]", "dataset.crop_size=[32,64]")
    command = (*SHORT, *given, "dataset.num_workers=0", "model/head=dsspn")
    assert call("train", *command) == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    assert "dataset.class_tree" in error

    assert call("train", *command, "dataset.class_tree={first: [c, a], second: [b]}") == 0, capsys.readouterr().err
    network = ocnet_pl.load("outputs/runs/dsspn/seed-0/checkpoints/last.ckpt").network
    assert isinstance(network.head, DSSPN)
    assert network.head.order.tolist() == [1, 2, 0]
    with pytest.raises(UserError, match="needs the data set's groups"):
        build_network(compose(*TINY, "model/head=dsspn"), 19)
    assert build_bare_module(compose(*TINY, "model/head=base_oc"), 19)


def test_the_tree_in_a_profile_is_that_of_the_data_set_where_it_fits() -> None:
    config = compose("model/head=dsspn")
    assert _class_tree(config, 19) == Cityscapes.class_tree
    for classes in (1, 2, 5, 20, 150):
        groups = _class_tree(config, classes).values()
        assert [number for group in groups for number in group] == list(range(classes))


@pytest.mark.parametrize("head", ["dsspn", "depthseg"])
@pytest.mark.parametrize("data", ["ade20k", "lip"])
def test_systems_train_on_other_data_sets(data: str, head: str, workplace: Path, call: Main) -> None:
    sizes = {"train": [(40, 60), (48, 40), (40, 40), (40, 64), (44, 56), (40, 44)], "val": [(40, 60), (48, 40)]}
    if data == "ade20k":
        ade20k_tree(workplace / "tree", **sizes)
        own = ["dataset.short_sides=[32,40]", "dataset.test_short_side=32", "inference=multi_scale"]
    else:
        lip_tree(workplace / "tree", **sizes)
        own = ["dataset.size=[40,40]", "dataset.crop_size=[40,40]", "inference=sliding", "inference.flip=true"]
        own += ["inference.window=[32,32]", "inference.stride=[24,24]"]
    given = (*SHORT, f"dataset={data}", "dataset.root=tree", "dataset.num_workers=0", f"model/head={head}", *own)
    assert call("train", *given, "schedule.batch_size=2", "trainer.precision=bf16-mixed") == 0
    result = Result.read(Path(f"outputs/runs/{head}/seed-0/result.json"))
    assert all(value > 0 for _, value in result.curves["train/loss"])
