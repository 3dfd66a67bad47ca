"""Cost of every system from shapes alone, as a Markdown table: no value is computed, so it takes minutes anywhere.

    python benchmarks/systems.py [--size 769] [--heads HEAD ...]

Columns: parameters of the network with its auxiliary classifier; multiply-adds of a forward pass with textbook
attention; memory that a training step keeps for the backward pass, for each image, in float32: of the network, and of
all that is not its backbone, beside the same with textbook attention. A fused kernel keeps query, key, value, result.
"""

import argparse
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from ocnet_pl.build import build_bare_module
from ocnet_pl.config.compose import compose, heads
from ocnet_pl.dataset.cityscapes import Cityscapes
from ocnet_pl.model import attention
from ocnet_pl.module import SegmentationModule
from ocnet_pl.tools.cost.measuring import multiply_adds

CLASSES = 19
BATCH = 2
"""Batch norm over pooled maps needs two images."""


class Fused(torch.autograd.Function):
    """Attention that keeps what a fused kernel keeps; only its shapes are right."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        result = query.new_empty(*query.shape[:-1], value.shape[-1])
        ctx.save_for_backward(query, key, value, result)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        raise AssertionError("only the forward pass has shapes")


def kept(module: SegmentationModule, size: int, *, textbook: bool) -> tuple[float, float]:
    """Bytes of an image that the network, and all of it but its backbone, keep for the backward pass."""

    def fused(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Any:
        return Fused.apply(query, key, value)

    storages: dict[int, int] = {}
    parameters = {tensor.untyped_storage()._cdata for tensor in (*module.parameters(), *module.buffers())}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in parameters:
            storages[storage._cdata] = storage.nbytes()
            alive.append(tensor)  # so that no other storage gets its number
        return tensor

    alive: list[Tensor] = []
    at_backbone: list[int] = []
    network = module.network
    handle = network.backbone.register_forward_hook(lambda *_: at_backbone.append(sum(storages.values())))
    image = torch.empty(BATCH, 3, size, size, dtype=torch.uint8, device="meta")
    form = mock.patch.object(attention, "explicit_attention", attention.explicit_attention if textbook else fused)
    with attention.textbook_attention(), form, torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        outputs = network.supervised(image)
        alive += [outputs.logits]
    handle.remove()
    total = sum(storages.values())
    return total / BATCH, (total - at_backbone[0]) / BATCH


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=769)
    parser.add_argument("--heads", nargs="+", default=heads())
    arguments = parser.parse_args()
    print("| system | params (M) | GMACs | kept (GB) | without backbone (GB) | with textbook attention (GB) |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for head in arguments.heads:
        config = compose(f"model/head={head}", "model.backbone.pretrained=false")
        about = {"class_tree": Cityscapes.class_tree, "body_parts": {"body": range(CLASSES)}}
        module = build_bare_module(config, CLASSES, **about).to("meta").train()
        network, beyond = kept(module, arguments.size, textbook=False)
        _, stored = kept(module, arguments.size, textbook=True)
        image = torch.empty(1, 3, arguments.size, arguments.size, device="meta")
        values = (
            f"{sum(p.numel() for p in module.network.parameters()) / 1e6:.1f}",
            f"{multiply_adds(module.network, image) / 1e9:.0f}",
            *(f"{value / 1e9:.2f}" for value in (network, beyond)),
            f"{stored / 1e9:.2f}" if stored != beyond else "-",
        )
        print(f"| {config.model.head.label} | {' | '.join(values)} |", flush=True)


if __name__ == "__main__":
    main()
