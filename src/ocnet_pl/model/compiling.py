"""Compilation of a network by `torch.compile`."""

import torch

from ocnet_pl.model.contract import Supervised, image_scales
from ocnet_pl.model.network import Network


def compile_parts(network: Network) -> None:
    """Compile backbone and head in place: the names of the weights stay."""
    # Sizes of several scales would become symbols, on which the compiler does not end: one program for each size.
    network.backbone.compile(dynamic=None if len(image_scales(network.head)) == 1 else False)
    network.head.compile()
    if isinstance(network.head, Supervised):  # `compile` covers `forward` only
        network.head.supervised = torch.compile(network.head.supervised)  # type: ignore[method-assign]
