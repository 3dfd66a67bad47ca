"""Heads with their classifiers against golden files: distances to the outputs, and all gradients."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from golden_systems import assert_gradient, golden_file, norms_and_activations, ours, with_weights
from torch import Tensor, nn


class Classified(nn.Module):
    """A head and the classifier that the network puts behind it."""

    def __init__(self, head: nn.Module, num_classes: int) -> None:
        super().__init__()
        self.head = head
        self.classifier = nn.Conv2d(head.out_channels, num_classes, 1) if num_classes else nn.Identity()  # type: ignore[arg-type]

    def forward(self, features: Tensor, **named: Tensor) -> Tensor:
        return self.classifier(self.head(features, **named))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Case:
    """A golden file, or a variant in it.

    Attributes:
        file: name of the file.
        build: makes the head.
        names: the authors' names of layers and ours.
        prefix: prefix of the variant in the file.
        output: name of the output.
        num_classes: classes of the classifier; 0: the output is that of the head.
        named: the authors' names of further inputs, and the head's.
    """

    file: str
    build: Callable[[], nn.Module]
    names: dict[str, str]
    prefix: str = ""
    output: str = "logits"
    num_classes: int = 5
    named: dict[str, str] = field(default_factory=dict)

    def load(self) -> tuple[Classified, dict[str, Tensor]]:
        golden = golden_file(self.file, self.prefix)
        system = Classified(self.build(), self.num_classes)
        with_weights(system, golden, self.names)
        return system, golden

    def inputs(self, golden: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        return golden["x"], {mine: golden[theirs] for theirs, mine in self.named.items()}

    def distance(self, *, training: bool, change: Callable[[nn.Module], None] = lambda head: None) -> float:
        """Largest difference to the authors' output, in multiples of its largest value."""
        system, golden = self.load()
        change(system.head)
        features, named = self.inputs(golden)
        with torch.no_grad():
            output = system.train(training)(features, **named)
        reference = golden[f"{self.output}_{'train' if training else 'eval'}"]
        return float((output - reference).abs().max() / reference.abs().max())

    def assert_gradients(self, at_least: int = 3) -> None:
        system, golden = self.load()
        features, named = self.inputs(golden)
        for one in (features, *named.values()):
            one.requires_grad_()
        (system.train()(features, **named) * golden["grad_seed"]).sum().backward()
        assert_gradient(features.grad, golden["grad_x_train"])
        for theirs, mine in self.named.items():
            assert_gradient(named[mine].grad, golden[f"grad_{theirs}_train"])
        of_weights = {n.removeprefix("grad_train/"): t for n, t in golden.items() if n.startswith("grad_train/")}
        assert len(of_weights) >= at_least
        for name, theirs_ in of_weights.items():
            assert_gradient(system.get_parameter(ours(name, self.names)).grad, theirs_)

    def layers(self) -> Sequence[tuple[str, int]]:
        return norms_and_activations(self.build())

    def parameters(self) -> list[str]:
        return [name for name, _ in self.build().named_parameters()]


def rolled(parameter: str, channels: int) -> Callable[[nn.Module], None]:
    """Change: the inputs that a fusion concatenates, in another order."""

    def change(head: nn.Module) -> None:
        weight = head.get_parameter(parameter)
        with torch.no_grad():
            weight.copy_(weight.roll(channels, 1))

    return change


def parameters_of(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def every_position(height: int, width: int) -> Tensor:
    """Points (x, y) of a map, row by row."""
    return torch.cartesian_prod(torch.arange(height), torch.arange(width)).flip(1)
