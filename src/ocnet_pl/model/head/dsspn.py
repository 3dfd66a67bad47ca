"""DSSPN, our reading (Liang et al. 2018, "Dynamic-structured Semantic Propagation Network", arXiv:1803.06067).

There is no public code. The abstract is what is known; widths, losses and trees are choices of this project.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from ocnet_pl.arguments import refuse
from ocnet_pl.metrics import IGNORE
from ocnet_pl.model.contract import Batch, ClassTree, Criterion
from ocnet_pl.model.layers import conv_norm_act, upsample
from ocnet_pl.model.supervision import unweighted_cross_entropy


class Neuron(nn.Module):
    """One node of the tree: features of its own, and logits of its children.

    Maps of all ancestors, joined (B, in, H, W) -> features (B, out_channels, H, W), logits (B, children, H, W). The
    logits read the features and the ancestors.

    Args:
        in_channels: channels of all ancestors together.
        bottleneck_channels: width between the two convolutions.
        out_channels: channels of the features.
        children: number of children.
        negative_slope: slope of the leaky ReLU.
    """

    def __init__(
        self, in_channels: int, bottleneck_channels: int, out_channels: int, children: int, *, negative_slope: float
    ) -> None:
        super().__init__()
        self.features = nn.Sequential(
            conv_norm_act(in_channels, bottleneck_channels, bias=False, negative_slope=negative_slope),
            conv_norm_act(bottleneck_channels, out_channels, 3, bias=False, negative_slope=negative_slope),
        )
        # A convolution of both maps joined, without joining them in memory.
        self.of_own = nn.Conv2d(out_channels, children, 1)
        self.of_ancestors = nn.Conv2d(in_channels, children, 1, bias=False)

    def forward(self, ancestors: Tensor) -> tuple[Tensor, Tensor]:
        features = self.features(ancestors)
        return features, self.of_own(features) + self.of_ancestors(ancestors)


class DSSPN(nn.Module):
    """Neurons in the tree of the data set's classes. (B, in, H, W) -> log-probabilities (B, K, H, W).

    The root chooses a group of classes, and the neuron of a group with several classes chooses one of them. Every
    neuron reads the features of all its ancestors. The log-probability of a class is the sum of log-softmax along its
    path. In training every neuron has a loss on the pixels whose class lies below it.

    All neurons are computed for every image, as batch norm and DDP require. The paper computes those that an image
    needs; here a neuron without pixels has no loss of its own.

    Args:
        in_channels: channels of the last stage.
        num_classes: number of classes.
        class_tree: train ids of each group of classes; every class is in one group.
        out_channels: width of the reduced features, the ancestors of the root.
        neuron_channels: channels of a neuron's features.
        bottleneck_channels: width inside a neuron.
        neuron_weight: weight of the mean loss of the neurons that have pixels.
        negative_slope: slope of the leaky ReLU; 0 is ReLU.
    """

    ends_in_logits: ClassVar[bool] = True
    order: Tensor
    """Channel of each class in the joined log-probabilities of all groups; saved, so that weights keep their class."""
    child_of: Tensor
    """Child of a neuron that a train id lies below, (neurons, 256); 255 for none."""

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        class_tree: ClassTree,
        out_channels: int = 256,
        *,
        neuron_channels: int = 48,
        bottleneck_channels: int = 192,
        neuron_weight: float = 1.0,
        negative_slope: float = 0.0,
    ) -> None:
        super().__init__()
        groups = [list(group) for group in class_tree.values()]
        leaves = [leaf for group in groups for leaf in group]
        if sorted(leaves) != list(range(num_classes)) or not all(groups):
            raise refuse("class_tree", groups, f"groups of train ids in which 0 to {num_classes - 1} occur once each")

        def neuron(channels: int, children: int) -> Neuron:
            return Neuron(channels, bottleneck_channels, neuron_channels, children, negative_slope=negative_slope)

        self.neuron_weight = neuron_weight
        self.group_sizes = [len(group) for group in groups]
        branching = [group for group in groups if len(group) > 1]
        self.sizes = [len(groups), *map(len, branching)]
        self.reduce = conv_norm_act(in_channels, out_channels, 3, bias=False, negative_slope=negative_slope)
        self.root = neuron(out_channels, len(groups))
        self.groups = nn.ModuleList(neuron(out_channels + neuron_channels, len(group)) for group in branching)
        self.register_buffer("order", torch.tensor(leaves).argsort())
        self.register_buffer("child_of", _child_of([groups, *([[leaf] for leaf in g] for g in branching)]), False)

    def forward(self, features: Tensor) -> Tensor:
        return self._log_probabilities(self._neurons(features))

    def supervised(self, features: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        logits = self._neurons(features)
        return self._log_probabilities(logits), {"neurons": torch.cat(logits, 1)}

    def losses(self, extras: Mapping[str, Tensor], batch: Batch, criterion: Criterion) -> dict[str, Tensor]:
        label = batch["label"].long()
        logits = upsample(extras["neurons"], label.shape[-2:]).split(self.sizes, 1)
        losses, active = [], []
        for of_neuron, table in zip(logits, self.child_of, strict=True):
            child = table[label]
            losses.append(unweighted_cross_entropy(of_neuron, child))
            active.append((child != IGNORE).any())
        mean = torch.stack(losses).sum() / torch.stack(active).sum().clamp_min(1)
        return {"neurons": self.neuron_weight * mean}

    def _neurons(self, features: Tensor) -> list[Tensor]:
        """Logits of the root's children, and of the children of every group with several classes."""
        reduced = self.reduce(features)
        of_root, logits = self.root(reduced)
        ancestors = torch.cat([reduced, of_root], 1)
        return [logits, *(group(ancestors)[1] for group in self.groups)]

    def _log_probabilities(self, logits: Sequence[Tensor]) -> Tensor:
        of_group, *inside = (one.log_softmax(1) for one in logits)
        branches = iter(inside)
        paths = [
            one + next(branches) if size > 1 else one
            for one, size in zip(of_group.split(1, 1), self.group_sizes, strict=True)
        ]
        return torch.cat(paths, 1)[:, self.order]


def _child_of(neurons: Sequence[Sequence[Sequence[int]]]) -> Tensor:
    """Table (neurons, 256), train id -> child of a neuron. A neuron is given as the train ids below each child."""
    table = torch.full((len(neurons), 256), IGNORE)
    for row, children in zip(table, neurons, strict=True):
        for number, leaves in enumerate(children):
            row[list(leaves)] = number
    return table
