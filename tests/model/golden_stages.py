"""Comparison with the golden files of systems that read several stages (keys `x/`, `y_eval/`, `grad_param_train/`)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from golden_systems import assert_gradient, golden_file, ours, with_weights
from torch import Tensor, nn

Change = Callable[[nn.Module], None]


def unchanged(head: nn.Module) -> None:
    pass


@dataclass(frozen=True)
class Golden:
    """A golden file with the system that it belongs to.

    Attributes:
        case: name of the file.
        build: makes a module with a part `head`; inputs by name -> outputs by name.
        names: the authors' names of layers and ours.
        unused: beginnings of the names of the authors' weights that influence nothing.
        reordered: the authors' weights whose inputs we concatenate in another order: theirs -> ours.
        weight_gradients: number of weights whose gradients the file holds, at least.
    """

    case: str
    build: Callable[[], nn.Module]
    names: Mapping[str, str]
    unused: tuple[str, ...] = ()
    reordered: Mapping[str, Callable[[Tensor], Tensor]] = field(default_factory=dict)
    weight_gradients: int = 3

    def load(self) -> tuple[nn.Module, dict[str, Tensor], dict[str, Tensor]]:
        """The system with the golden weights, all golden numbers, and the inputs."""
        golden = golden_file(self.case)
        for weight, order in self.reordered.items():
            golden |= {f"{kind}/{weight}": order(golden[f"{kind}/{weight}"]) for kind in ("param", "grad_param_train")}
        weights = {n: t for n, t in golden.items() if not n.removeprefix("param/").startswith(self.unused)}
        system = with_weights(self.build(), weights, dict(self.names))
        return system, golden, {n.removeprefix("x/"): t for n, t in golden.items() if n.startswith("x/")}

    def distance(self, *, training: bool = False, change: Change = unchanged) -> float:
        """Largest difference to an output of the authors, in multiples of the output's largest value."""
        system, golden, inputs = self.load()
        change(system)
        with torch.no_grad():
            outputs = system.train(training)(inputs)
        expected = {n.removeprefix("y_eval/") for n in golden if n.startswith("y_eval/")}
        assert outputs.keys() == expected
        references = {name: golden[f"y_{'train' if training else 'eval'}/{name}"] for name in outputs}
        return max(float((outputs[n] - r).abs().max() / r.abs().max()) for n, r in references.items())

    def assert_gradients(self) -> None:
        """Check the gradients of inputs and weights in training."""
        system, golden, inputs = self.load()
        for features in inputs.values():
            features.requires_grad_()
        outputs = system.train()(inputs)
        torch.stack([(output * golden[f"grad_seed/{name}"]).sum() for name, output in outputs.items()]).sum().backward()
        of_inputs = {n.removeprefix("grad_x_train/"): t for n, t in golden.items() if n.startswith("grad_x_train/")}
        of_weights = {
            n.removeprefix("grad_param_train/"): t for n, t in golden.items() if n.startswith("grad_param_train/")
        }
        assert len(of_inputs) >= 2
        assert len(of_weights) >= self.weight_gradients
        for name, theirs in of_inputs.items():
            assert_gradient(inputs[name].grad, theirs)
        for name, theirs in of_weights.items():
            assert_gradient(system.get_parameter(ours(name, dict(self.names))).grad, theirs)

    def parameters(self) -> list[str]:
        return [name for name, _ in self.build().named_parameters()]

    def elements(self) -> list[str]:
        """Names of norms, activations and gates."""
        return [
            name
            for name, part in self.build().named_modules()
            if isinstance(part, nn.BatchNorm2d | nn.LeakyReLU | nn.Sigmoid)
        ]


def without(name: str) -> Change:
    """Change: a layer does nothing."""
    return lambda system: system.set_submodule(name, nn.Identity())


def rolled_inputs(weight: str, channels: int) -> Change:
    """Change: a convolution reads its inputs in another order."""

    def change(system: nn.Module) -> None:
        with torch.no_grad():
            kernel = system.get_parameter(weight)
            kernel.copy_(kernel.roll(channels, 1))

    return change
