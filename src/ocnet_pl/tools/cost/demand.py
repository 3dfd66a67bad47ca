"""Training images per second that a GPU takes with each head, for which loaders must be fast enough."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch.utils.flop_counter import FlopCounterMode

from ocnet_pl.build import build_bare_module
from ocnet_pl.config.compose import compose
from ocnet_pl.dataset.data_module import SegmentationDataModule
from ocnet_pl.model.attention import textbook_attention
from ocnet_pl.model.network import Network
from ocnet_pl.resizing import Size
from ocnet_pl.tools.cost.measuring import on_shapes

PEAKS: Mapping[str, int] = MappingProxyType({"v100": 125, "a100": 312, "h100": 989, "h200": 989, "rtx4090": 165})
"""Dense matrix peaks of the vendors' data sheets in TFLOP/s, 16-bit factors summed in float32."""
UTILISATION = 0.4
"""Share of its peak that a GPU is assumed to reach in training."""
TABLE1 = ("baseline", "gp", "ppm", "aspp", "base_oc", "pyramid_oc", "asp_oc")


@dataclass(frozen=True)
class Demand:
    """Cost of a training step of one head.

    Attributes:
        label: the head's label in tables.
        gflops: floating-point operations of a training step, per image, in 10^9.
    """

    label: str
    gflops: float

    def images_per_second(self, gpu: str) -> float:
        """Images that one GPU of a kind (a key of `PEAKS`) trains on per second."""
        return UTILISATION * PEAKS[gpu] * 1000 / self.gflops


def demand(head: str, data: SegmentationDataModule, size: Size, overrides: Sequence[str] = ()) -> Demand:
    """Demand of a head on samples of a size, from shapes alone.

    Args:
        head: option of `conf/model/head`.
        data: data set, for its classes.
        size: (height, width) of a sample.
        overrides: those of `ocnet-train`, e.g. of the backbone.
    """
    config = compose(*overrides, f"model/head={head}", "model.backbone.pretrained=false")
    module = build_bare_module(config, len(data.classes), class_tree=data.class_tree, body_parts=data.body_parts)
    return Demand(config.model.head.label, step_operations(module.network, size) / 1e9)


def step_operations(network: Network, size: Size) -> int:
    """Floating-point operations of convolutions and matrix products for one image, forward and backward."""
    shadow = on_shapes(network)
    assert isinstance(shadow, Network)
    with textbook_attention(), FlopCounterMode(display=False) as counter:
        outputs = shadow.supervised(torch.empty(1, 3, *size, device="meta"))
        found = [outputs.logits, *outputs.extras.values(), *([] if outputs.auxiliary is None else [outputs.auxiliary])]
        torch.stack([tensor.sum() for tensor in found]).sum().backward()
    return int(counter.get_total_flops())
