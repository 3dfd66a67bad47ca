"""Training steps of every head at the paper's size."""

from collections.abc import Iterator
from functools import cache

import torch

from ocnet_pl.tools.cost.measuring import measure, multiply_adds
from on_gpu.section import Finding, Scope, Section, gigabytes, milliseconds

TABLE1 = ("base_oc", "asp_oc", "pyramid_oc", "baseline")
FASTEST = "bf16 channels_last"
SETTINGS = (
    "32 batch=2", "bf16 batch=2", "32 channels_last batch=2", f"{FASTEST} batch=4", f"{FASTEST} batch=8",
    f"{FASTEST} compile batch=2", f"{FASTEST} compile batch=8",
)  # fmt: skip
"""Further settings of some heads."""
SIDE = 8192
"""Side of the matrices whose product is the card's peak."""
PASSES = 3
"""A training step has the operations of three forward passes."""


def _items(scope: Scope) -> list[str]:
    heads = [*TABLE1, *(head for head in scope.heads if head not in TABLE1)]
    if scope.rehearsal:
        return [f"{scope.heads[0]} 32 batch=2", f"{scope.heads[0]} {FASTEST} batch=2"]
    first, *others = [f"{head} {setting}" for setting in SETTINGS for head in TABLE1[:2]]
    return [f"{TABLE1[0]} {FASTEST} batch=2", first, *(f"{head} {FASTEST} batch=2" for head in heads[1:]), *others,
            *(f"{head} 32 batch=2" for head in heads[2:])]  # fmt: skip


def _findings(scope: Scope, item: str) -> Iterator[Finding]:
    head, precision, *settings = item.split()
    batch = int(settings.pop().removeprefix("batch="))
    overrides = [f"{setting}=true" for setting in settings]
    size = scope.sizes(769, 769)
    torch.compiler.reset()  # the programs of earlier networks count against a limit
    subject = scope.subject(head, *overrides, size=size, batch=batch, precision=precision)
    operations = 2 * PASSES * multiply_adds(subject.module.network, subject.batch["image"])
    subject.prepare_training()
    step = measure(subject.train_step, scope.device, 3)
    if step.seconds is None:
        yield Finding((item, "does not fit"))
        return
    peak = _peak(scope)
    share, rate = operations / step.seconds / peak, batch / step.seconds
    yield Finding((item, milliseconds(step.seconds), f"{rate:.1f}", gigabytes(step.peak), f"{share:.0%}"))


@cache
def _peak(scope: Scope) -> float:
    """Operations a second of a large product of bf16 matrices."""
    side = 256 if scope.rehearsal else SIDE
    matrix = torch.randn(side, side, device=scope.device, dtype=torch.bfloat16)
    seconds = measure(lambda: matrix @ matrix, scope.device, 10).seconds
    assert seconds is not None
    return 2 * side**3 / seconds


SECTION = Section(
    "Training steps",
    "ResNet-101, 769x769, 19 classes: losses, gradients and optimizer step, the fastest of three. Memory is the peak "
    "of all that is allocated. The last column compares the operations a second, those of "
    f"{PASSES} forward passes for a step, with a product of bf16 matrices of {SIDE}x{SIDE} on the same card.",
    ("head and settings", "ms", "images a second", "GB", "of the matrix peak"),
    600,
    _items,
    _findings,
)
