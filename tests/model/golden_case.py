"""Parts of ours against golden numbers: a test class states the facts of one system, the checks stand here."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
import torch
import torch.nn.functional as F
from changes import Change, layers_of, shifted, unchanged, weights_of, without
from golden_numbers import SAME, SEEN, assert_gradient, golden_file, relative_difference
from torch import Tensor, nn

Run = Callable[[Any, dict[str, Tensor]], Mapping[str, Tensor]]
"""Inputs by name through a part -> outputs by name."""


def returning(output: str) -> Run:
    """Run of a part that takes all inputs, in their order, and returns one tensor."""
    return lambda part, inputs: {output: part(*inputs.values())}


class Classified(nn.Module):
    """A head and the classifier that the network puts behind it."""

    def __init__(self, head: nn.Module, num_classes: int) -> None:
        super().__init__()
        self.head = head
        self.classifier = nn.Conv2d(head.out_channels, num_classes, 1)  # type: ignore[arg-type]

    def forward(self, *maps: Tensor, **named: Tensor) -> Tensor:
        return self.classifier(self.head(*maps, **named))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Patch:
    """Other code: an attribute of a module or class has another value."""

    owner: object
    name: str
    value: object


def resampled(owner: object, name: str, mode: str, align_corners: bool | None = None) -> Patch:
    """Another interpolation in place of a function of features (B, C, h, w) and a size."""

    def resample(features: Tensor, size: Collection[int]) -> Tensor:
        return F.interpolate(features, tuple(size), mode=mode, align_corners=align_corners)

    return Patch(owner, name, resample)


@dataclass(frozen=True)
class GoldenCase:
    """A golden file, or a variant in it, and the part that must give its numbers (names in tests/golden/README.md).

    Attributes:
        file: name of the file.
        build: makes the part.
        run: computes the outputs of the file.
        names: beginnings of the authors' names of weights, and ours; the longest one counts, and None stands for
            weights that influence nothing. Or a function that does the same for a whole name.
        prefix: prefix of the variant in the file.
        reordered: what brings the authors' weights, whose inputs we concatenate in another order, into our order.
        same_in_training: outputs in training are those in testing, and the file holds only these.
        weight_gradients: number of weights whose gradients the file holds.
        tolerance: largest difference of an output in testing, in multiples of the output's largest value.
        changes: changes of the part, or of the code, that the outputs must show, by name.
        unseen: layers and weights that no output shows; the reason stands beside them.
        modes: whether outputs are those in training, for each mode in which a change is looked for.
    """

    file: str
    build: Callable[[], nn.Module]
    run: Run
    names: Mapping[str, str | None] | Callable[[str], str | None] = field(default_factory=dict)
    prefix: str = ""
    reordered: Mapping[str, Callable[[Tensor], Tensor]] = field(default_factory=dict)
    same_in_training: bool = False
    weight_gradients: int = 3
    tolerance: float = SAME
    changes: Mapping[str, Change | Patch] = field(default_factory=dict)
    unseen: Collection[str] = ()
    modes: Collection[bool] = (False,)

    def __str__(self) -> str:
        return f"{self.file}/{self.prefix}".strip("/")

    def ours(self, name: str) -> str | None:
        """Our name of one of the authors' weights."""
        if callable(self.names):
            return self.names(name)
        theirs = max((one for one in self.names if f"{name}.".startswith(f"{one}.")), key=len, default=None)
        if theirs is None:
            return name
        mine = self.names[theirs]
        return None if mine is None else mine + name.removeprefix(theirs)

    def load(self) -> tuple[nn.Module, dict[str, Tensor], dict[str, Tensor]]:
        """The part with the golden weights, all golden numbers, and the inputs."""
        golden = golden_file(self.file, self.prefix)
        for weight, order in self.reordered.items():
            golden |= {f"{kind}/{weight}": order(golden[f"{kind}/{weight}"]) for kind in ("param", "grad_param_train")}
        part = self.build()
        own = {name: tensor for name, tensor in part.state_dict().items() if not name.endswith("num_batches_tracked")}
        weights = {mine: tensor for name, tensor in _of("param", golden) if (mine := self.ours(name)) is not None}
        assert weights.keys() == own.keys(), f"{self}: weights of one side: {sorted(weights.keys() ^ own.keys())}"
        part.load_state_dict({name: tensor.view(own[name].shape) for name, tensor in weights.items()}, strict=False)
        return part, golden, dict(_of("x", golden))

    def differences(self, *, training: bool = False, change: Change = unchanged) -> dict[str, float]:
        """Of each output of the file the largest difference to ours, in multiples of the output's largest value."""
        part, golden, inputs = self.load()
        change(part)
        with torch.no_grad():
            outputs = self.run(part.train(training), inputs)
        references = dict(_of("y_train" if training and not self.same_in_training else "y_eval", golden))
        found = {}
        for key, theirs in references.items():
            name, step = _kept(key)
            found[name] = relative_difference(_every(step, outputs[name]), theirs)
        assert found
        assert training or found.keys() == outputs.keys(), f"{self}: outputs of one side"
        return found

    def distance(self, *, training: bool = False, change: Change = unchanged) -> float:
        """The largest of these differences; NaN if there is one."""
        return float(torch.tensor(list(self.differences(training=training, change=change).values())).max())

    def assert_gradients(self) -> None:
        """Check the gradients of all inputs, and of the weights whose gradients the file holds, in training."""
        part, golden, inputs = self.load()
        for one in inputs.values():
            one.requires_grad_()
        outputs = self.run(part.train(), inputs)
        torch.stack([(outputs[name] * seed).sum() for name, seed in _of("grad_seed", golden)]).sum().backward()
        seen = set()
        for key, theirs in _of("grad_x_train", golden):
            name, step = _kept(key)
            seen.add(name)
            gradient = inputs[name].grad
            assert gradient is not None, f"{self}: no gradient of input {name}"
            assert_gradient(_every(step, gradient), theirs, f"{self}: gradient of input {name}")
        assert seen == {name for name, one in inputs.items() if one.grad is not None}, f"{self}: inputs with a gradient"
        of_weights = dict(_of("grad_param_train", golden))
        assert len(of_weights) == self.weight_gradients
        for name, theirs in of_weights.items():
            mine = self.ours(name)
            assert mine is not None
            assert_gradient(part.get_parameter(mine).grad, theirs, f"{self}: gradient of {name}, here {mine}")


def _of(kind: str, golden: Mapping[str, Tensor]) -> Iterable[tuple[str, Tensor]]:
    return [(key.removeprefix(f"{kind}/"), one) for key, one in golden.items() if key.startswith(f"{kind}/")]


def _kept(key: str) -> tuple[str, int]:
    """Name of a tensor, and N where the file keeps every N-th row and column of it."""
    name, _, step = key.partition("/every_")
    return name, int(step[:-2] or 1)


def _every(step: int, tensor: Tensor) -> Tensor:
    return tensor if step == 1 else tensor[..., ::step, ::step]


class AgreementTests:
    """Outputs and gradients of a golden case."""

    case: ClassVar[GoldenCase]

    @pytest.mark.parametrize("training", [False, True])
    def test_outputs(self, training: bool) -> None:
        tolerance = SAME if training else self.case.tolerance
        for name, difference in self.case.differences(training=training).items():
            assert difference <= tolerance, f"{self.case}: {name} differs by {difference:.1e} of its largest value"

    def test_all_gradients(self) -> None:
        self.case.assert_gradients()


class GoldenTests(AgreementTests):
    """Outputs and gradients of a golden case, and a proof that another part would give other outputs."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        part = self.case.build()
        named = {"layer": layers_of(part), "weight": weights_of(part), "change": list(self.case.changes)}
        for argument, names in named.items():
            if argument in metafunc.fixturenames:
                metafunc.parametrize(argument, names)

    def assert_seen(self, name: str, change: Change = unchanged) -> None:
        distance = max(self.case.distance(training=training, change=change) for training in self.case.modes)
        seen = name not in self.case.unseen
        assert (distance > SEEN) is seen, (
            f"{self.case}: {name} changes outputs by {distance:.1e} of their largest value"
        )

    def test_a_missing_layer_would_be_seen(self, layer: str) -> None:
        self.assert_seen(layer, without(layer))

    def test_every_weight_would_be_seen(self, weight: str) -> None:
        self.assert_seen(weight, shifted(weight))

    def test_any_change_would_be_seen(self, change: str, monkeypatch: pytest.MonkeyPatch) -> None:
        changed = self.case.changes[change]
        if isinstance(changed, Patch):
            monkeypatch.setattr(changed.owner, changed.name, changed.value)
            self.assert_seen(change)
        else:
            self.assert_seen(change, changed)
