"""The hash of weights does not depend on how they lie in memory."""

import torch
from torch import nn

from ocnet_pl.run.provenance import weights_sha256


def test_the_memory_format_does_not_change_the_hash() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3, groups=6), nn.Conv2d(6, 8, 1))
    before = weights_sha256(network)
    assert weights_sha256(network.to(memory_format=torch.channels_last)) == before
    with torch.no_grad():
        network[2].weight[0, 1] += 1
    assert weights_sha256(network) != before
