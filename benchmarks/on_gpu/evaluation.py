"""Evaluation of whole images of Cityscapes."""

from collections.abc import Iterator

import torch

from ocnet_pl.evaluation_module import EvaluationModule
from ocnet_pl.inference import MultiScale, Protocol, SlidingWindow, WholeImage
from ocnet_pl.tools.cost.measuring import measure
from on_gpu.section import Finding, Scope, Section, gigabytes, milliseconds

PROTOCOLS: dict[str, Protocol] = {
    "whole": WholeImage(),
    "multi_scale": MultiScale(),
    "sliding": SlidingWindow((769, 769), (513, 513)),
}
HEADS = ("base_oc", "asp_oc")


def _items(scope: Scope) -> list[str]:
    heads = HEADS[:1] if scope.rehearsal else HEADS
    return [f"{head} {name} {precision}" for precision in ("bf16", "32") for name in PROTOCOLS for head in heads]


def _findings(scope: Scope, item: str) -> Iterator[Finding]:
    head, name, precision = item.split()
    subject = scope.subject(head, size=scope.sizes(1024, 2048), batch=1, precision=precision)
    module = EvaluationModule(subject.module.network, PROTOCOLS[name]).to(scope.device).eval()

    def one_image() -> None:
        with torch.inference_mode(), subject.autocast:
            module.validation_step(subject.batch, 0)

    image = measure(one_image, scope.device, 3)
    yield Finding((item, milliseconds(image.seconds), gigabytes(image.peak)))


SECTION = Section(
    "Evaluation",
    "One image of 1024x2048 with ResNet-101: logits at its size, classes and counts. Memory is the peak of all that is "
    "allocated.",
    ("head, protocol and precision", "ms", "GB"),
    60,
    _items,
    _findings,
)
