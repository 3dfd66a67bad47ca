"""Forward pass and gradients of every head on the GPU and on the CPU."""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ocnet_pl.config.compose import compose
from ocnet_pl.model.contract import Batch
from ocnet_pl.module import SegmentationModule
from on_gpu.section import Finding, Scope, Section

CPU = torch.device("cpu")
SLACK = 10.0
"""Largest error of the GPU in multiples of the CPU's."""
LEAST = 1e-6
"""Error in float32 below which nothing is compared."""


def _findings(scope: Scope, head: str) -> Iterator[Finding]:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    options = compose(f"model/head={head}").model.head
    always = ["model.head.discriminator_probability=1"] if "discriminator_probability" in options else []
    torch.manual_seed(0)
    subject = scope.subject(head, *always, size=(65, 97), backbone="tiny", device=CPU)
    module, batch = subject.module.train(), subject.batch
    _make_comparable(module)
    exact = _outputs(module, batch, CPU, torch.float64)
    cpu, gpu = (_outputs(module, batch, device, torch.float32) for device in (CPU, scope.device))
    errors = [[_error(one, true) for one, true in zip(outputs, exact, strict=True)] for outputs in (cpu, gpu)]
    holds = all(here <= SLACK * there + LEAST for there, here in zip(*errors, strict=True))
    yield Finding((head, *(f"{error:.1e}" for pair in zip(*errors, strict=True) for error in pair)), holds)


def _make_comparable(module: SegmentationModule) -> None:
    """No dropout, whose generators differ, and no weight of 0, which would hide the gradients behind it."""
    for part in module.modules():
        if isinstance(part, nn.Dropout | nn.Dropout2d):
            part.p = 0.0
    with torch.no_grad():
        for parameter in module.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1)


def _outputs(module: SegmentationModule, batch: Batch, device: torch.device, kind: torch.dtype) -> tuple[Tensor, ...]:
    """Logits, loss terms and all gradients, as double precision on the CPU."""
    here = copy.deepcopy(module).to(device, kind)
    moved = {name: one.to(device) for name, one in batch.items()}
    terms = here.terms({name: one.to(kind) if one.is_floating_point() else one for name, one in moved.items()})
    torch.stack(list(terms.values())).sum().backward()
    gradients = [p.grad.flatten() for p in here.parameters() if p.grad is not None]
    with torch.no_grad():
        logits = here.eval().network(moved["image"])
    results = logits, torch.stack(list(terms.values())).detach(), torch.cat(gradients)
    return tuple(one.cpu().double() for one in results)


def _error(one: Tensor, true: Tensor) -> float:
    return float((one - true).norm() / true.norm())


SECTION = Section(
    "Equality with the CPU",
    "Logits, losses and gradients in float32 (no TF32) on the GPU are as near to double precision as those on the CPU: "
    f"relative error at most {SLACK:.0f} times as large. No weight is 0, and there is no dropout.",
    ("head", "logits, CPU", "logits, GPU", "losses, CPU", "losses, GPU", "gradients, CPU", "gradients, GPU"),
    110,
    lambda scope: scope.heads,
    _findings,
)
