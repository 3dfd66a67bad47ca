"""DenseASPP with the weights of the authors' network gives its outputs and gradients."""

from collections.abc import Callable

import pytest
import torch
from golden_systems import (
    SEEN,
    assert_gradient,
    golden_file,
    leaky,
    set_to,
    shifted,
)
from torch import Tensor, nn

from ocnet_pl.build import build_network
from ocnet_pl.config.compose import compose
from ocnet_pl.model.head.denseaspp import DenseASPP, DenseASPPBlock

DILATIONS = (3, 6, 12, 18, 24)
LAYERS = {"norm1": 0, "conv1": 2, "norm2": 3, "conv2": 5}
"""The authors' names of layers and places in a block."""


def name_of(theirs: str) -> str:
    """Our name of one of the authors' weights."""
    block, layer, *rest = theirs.split(".")
    if block == "classification":
        return ".".join(["classifier", *rest])
    return ".".join(["head.blocks", str(DILATIONS.index(int(block.removeprefix("ASPP_")))), str(LAYERS[layer]), *rest])


class System(nn.Module):
    """The head and the classifier that the network puts behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.head = DenseASPP(16, hidden_channels=6, growth=4, dropout=0.0)
        self.classifier = nn.Conv2d(36, 5, 1)

    def forward(self, features: Tensor) -> Tensor:
        return self.classifier(self.head(features))


def load() -> tuple[System, dict[str, Tensor]]:
    system, golden = System(), golden_file("denseaspp")
    weights = {name_of(n.removeprefix("param/")): t for n, t in golden.items() if n.startswith("param/")}
    missing = system.load_state_dict(weights, strict=False)
    assert not missing.unexpected_keys
    assert all(name.endswith("num_batches_tracked") for name in missing.missing_keys)
    return system, golden


def distance(*, training: bool = False, change: Callable[[nn.Module], None] = lambda head: None) -> float:
    """Largest difference to the authors' output, in multiples of its largest value."""
    system, golden = load()
    change(system.head)
    with torch.no_grad():
        output = system.train(training)(golden["x"])
    reference = golden["y_train" if training else "y_eval"]
    return float((output - reference).abs().max() / reference.abs().max())


@pytest.mark.parametrize("training", [False, True])
def test_outputs(training: bool) -> None:
    assert distance(training=training) <= 1e-5


@torch.no_grad()
def test_the_concatenation_before_the_classifier() -> None:
    system, golden = load()
    rows = system.head.eval()(golden["x"])[:, :, [0, 13, 26]]
    theirs = golden["features_eval_rows_0_13_26"]
    assert (rows - theirs).abs().max() <= 1e-5 * theirs.abs().max()


def test_all_gradients() -> None:
    system, golden = load()
    features = golden["x"].requires_grad_()
    (system.train()(features) * golden["grad_seed"]).sum().backward()
    assert_gradient(features.grad, golden["grad_x_train"])
    of_weights = {n.removeprefix("grad_train/"): t for n, t in golden.items() if n.startswith("grad_train/")}
    assert len(of_weights) == 4
    for name, theirs in of_weights.items():
        assert_gradient(system.get_parameter(name_of(name)).grad, theirs)


# Any change would be seen.

PARAMETERS = [name for name, _ in System().head.named_parameters()]


@pytest.mark.parametrize("place", [0, 1, 3, 4])
@pytest.mark.parametrize("block", range(5))
def test_a_missing_norm_or_activation_would_be_seen(block: int, place: int) -> None:
    def change(head: nn.Module) -> None:
        head.blocks[block][place] = nn.Identity()  # type: ignore[index, operator, union-attr]

    # The first block has no norm, and the features have passed its ReLU before.
    assert (distance(change=change) > SEEN) is not (block == 0 and place < 2)


@pytest.mark.parametrize("parameter", PARAMETERS)
def test_every_weight_would_be_seen(parameter: str) -> None:
    assert distance(change=shifted(parameter)) > SEEN


def norm_in_the_first_block(head: nn.Module) -> None:
    head.blocks[0][0] = nn.BatchNorm2d(16)  # type: ignore[index, operator, union-attr]
    nn.init.constant_(head.blocks[0][0].bias, 0.1)  # type: ignore[index, union-attr]


def activation_behind_a_block(head: nn.Module) -> None:
    head.blocks[2].append(nn.ReLU())  # type: ignore[index, operator, union-attr]


@pytest.mark.parametrize(
    "change", [leaky, set_to("activation", nn.Identity()), norm_in_the_first_block, activation_behind_a_block]
)
def test_any_change_would_be_seen(change: Callable[[nn.Module], None]) -> None:
    assert distance(change=change) > SEEN


@pytest.mark.parametrize("block", range(5))
def test_another_dilation_would_be_seen(block: int) -> None:
    def change(head: nn.Module) -> None:
        conv = head.blocks[block][5]  # type: ignore[index, operator, union-attr]
        conv.dilation = conv.padding = (DILATIONS[block] + 1,) * 2

    assert distance(change=change) > SEEN


def test_the_newest_output_last_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(head: DenseASPP, features: Tensor) -> Tensor:
        features = head.activation(features)
        for block in head.blocks:
            features = torch.cat([features, block(features)], 1)
        return features

    monkeypatch.setattr(DenseASPP, "forward", forward)
    assert distance() > SEEN


# Beyond the golden numbers.


def test_parameters_at_the_papers_width() -> None:
    head = DenseASPP(2048)
    count = sum(p.numel() for p in head.parameters()) + 19 * head.out_channels + 19
    assert head.out_channels == 2048 + 5 * 64
    convolutions = 256 * (5 * 2048 + 64 * (1 + 2 + 3 + 4)) + 5 * 9 * 256 * 64
    assert convolutions == pytest.approx(3.5e6, abs=0.05e6)
    assert count == pytest.approx(3.59e6, abs=0.005e6), "with biases, norms and the classifier"


def test_the_map_of_the_backbone_is_left_as_it_is() -> None:
    features = torch.randn(2, 4, 5, 6)
    before = features.clone()
    DenseASPP(4, hidden_channels=4, growth=2)(features)
    assert torch.equal(features, before)


def test_a_fusion_to_one_width() -> None:
    head = DenseASPP(4, 7, hidden_channels=4, growth=2).eval()
    assert head(torch.randn(2, 4, 5, 6)).shape == (2, 7, 5, 6)


def test_every_norm_has_the_given_momentum() -> None:
    norms = [m for m in DenseASPP(4, 7, momentum=0.0003).modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 10
    assert {norm.momentum for norm in norms} == {0.0003}


def test_initial_values() -> None:
    torch.manual_seed(0)
    weight = DenseASPP(64, hidden_channels=128).blocks[0][2].weight.detach()  # type: ignore[index]
    bound = (6 / weight[0].numel()) ** 0.5
    assert 0.99 * bound < weight.abs().max() <= bound


def test_all_outputs_have_channel_dropout() -> None:
    head = DenseASPP(4, hidden_channels=4, growth=2)
    assert all(isinstance(block[-1], nn.Dropout2d) and block[-1].p == 0.1 for block in head.blocks)  # type: ignore[index]
    assert isinstance(head.dropout, nn.Dropout2d)
    assert all(isinstance(block, DenseASPPBlock) for block in head.blocks)


def test_the_network_around_it() -> None:
    network = build_network(compose("model/head=denseaspp", "model/backbone=tiny"), 5).eval()
    assert network(torch.zeros(1, 3, 57, 93)).shape == (1, 5, 57, 93)
