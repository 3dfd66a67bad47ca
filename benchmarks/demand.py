"""Training images per second that a GPU takes with each head, for which loaders must be fast enough."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from ocnet_pl.build import build_bare_module
from ocnet_pl.config.compose import compose
from ocnet_pl.dataset.cityscapes import Cityscapes
from ocnet_pl.model.attention import textbook_attention
from ocnet_pl.model.network import Network
from ocnet_pl.tools.cost.measuring import on_shapes

PEAKS = {"v100": 125, "a100": 312, "h100": 989, "rtx4090": 165}
"""Dense matrix peaks of the vendors' data sheets in TFLOP/s, 16-bit factors summed in float32."""
TABLE1 = ("baseline", "gp", "ppm", "aspp", "base_oc", "pyramid_oc", "asp_oc")


@dataclass(frozen=True)
class Demand:
    """Images per second of one head.

    Attributes:
        label: the head's label in tables.
        gflops: floating-point operations of a training step, per image, in 10^9.
        images_per_second: images that one GPU trains on per second.
    """

    label: str
    gflops: float
    images_per_second: float


def demands(heads: Sequence[str], size: int, tflops: float, utilisation: float) -> list[Demand]:
    """Demand of each head on crops of size x size, from shapes alone.

    Args:
        heads: options of `conf/model/head`, under the backbone of Table 1.
        size: side of a crop.
        tflops: peak of the GPU in 10^12 operations per second.
        utilisation: assumed share of that peak.
    """
    result = []
    for head in heads:
        config = compose(f"model/head={head}", "model.backbone.pretrained=false")
        module = build_bare_module(config, len(Cityscapes.classes), class_tree=Cityscapes.class_tree)
        operations = step_operations(module.network, size)
        result.append(Demand(config.model.head.label, operations / 1e9, utilisation * tflops * 1e12 / operations))
    return result


def step_operations(network: Network, size: int) -> int:
    """Floating-point operations of convolutions and matrix products for one image, forward and backward."""
    shadow = on_shapes(network)
    assert isinstance(shadow, Network)
    with textbook_attention(), FlopCounterMode(display=False) as counter:
        outputs = shadow.supervised(torch.empty(1, 3, size, size, device="meta"))
        found = [outputs.logits, *outputs.extras.values(), *([] if outputs.auxiliary is None else [outputs.auxiliary])]
        torch.stack([tensor.sum() for tensor in found]).sum().backward()
    return int(counter.get_total_flops())
