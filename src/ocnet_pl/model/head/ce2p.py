"""CE2P (Ruan et al. 2019, "Devil in the Details: Towards Accurate Single and Multiple Human Parsing",
arXiv:1809.05996; layers of the authors' code, `networks/CE2P.py`)."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from ocnet_pl.arguments import refuse
from ocnet_pl.model.contract import Attending, Attention, Batch, Criterion, Supervised
from ocnet_pl.model.edges import balanced_cross_entropy, dilated, neighbour_edges
from ocnet_pl.model.head.ppm import PPM
from ocnet_pl.model.layers import conv_norm_act, upsample

_EDGE_WIDTH = 3
"""Side of the square that widens an edge, in pixels."""
_CONTEXT = "context_"
"""Beginning of the names of the context module's own training outputs and losses."""


class EdgeBranch(nn.Module):
    """Features and edge logits of three stages.

    `forward` gives the reduced maps (B, channels, h_i, w_i) of the stages, each of its own size; `logits` turns these
    into edge logits (B, 2, h_1, w_1). One 3x3 convolution classifies all stages.

    Args:
        in_channels: channels of the stages.
        channels: width of each reduced map.
        negative_slope: slope of the leaky ReLU.
    """

    def __init__(self, in_channels: Sequence[int], channels: int, *, negative_slope: float = 0.0) -> None:
        super().__init__()
        self.reduce = nn.ModuleList(
            conv_norm_act(one, channels, bias=False, negative_slope=negative_slope) for one in in_channels
        )
        self.classifier = nn.Conv2d(channels, 2, 3, padding=1)
        self.fuse = nn.Conv2d(2 * len(in_channels), 2, 1)

    def forward(self, *stages: Tensor) -> list[Tensor]:
        return [reduce(stage) for reduce, stage in zip(self.reduce, stages, strict=True)]

    def logits(self, reduced: Sequence[Tensor]) -> Tensor:
        """Edge logits of the reduced maps."""
        size = reduced[0].shape[-2:]
        # Classified at its own size, before the upsampling.
        logits: Tensor = self.fuse(torch.cat([upsample(self.classifier(one), size) for one in reduced], 1))
        return logits


class CE2P(nn.Module):
    """Context on the last stage, a decoder with the first stage, and an edge branch, fused at stride 4.

    Stages (B, C_i, h_i, w_i) of strides 4, 8, 16 and 16 -> (B, out_channels, h_1, w_1).

    In training the decoder has a classifier of its own, and the edge branch learns where two classes meet; both losses
    are added. The defaults are the form of 2018, with ReLU everywhere but in the pyramid pooling. The authors' code of
    2019 has `negative_slope=0.01` and `dropout=0.1`.

    Args:
        in_channels: channels of the four stages.
        num_classes: number of classes, for the decoder's classifier.
        out_channels: width of the decoder and of the fusion.
        context: context module, (B, C_4, h, w) -> (B, context.out_channels, h, w); its training outputs, losses and
            attention are kept. None: the authors' pyramid pooling.
        pyramid_channels: width of the pyramid pooling; None: 512.
        detail_channels: width of the first stage's map in the decoder.
        edge_channels: width of each of the edge branch's three maps.
        decoder_weight: weight of the loss of the decoder's classifier.
        edge_weight: weight of the loss of edges.
        dropout: channel dropout before the network's classifier.
        negative_slope: slope of the leaky ReLU outside the context module; 0 is ReLU.
    """

    levels: ClassVar[tuple[int, ...]] = (-4, -3, -2, -1)
    takes_context: ClassVar[bool] = True

    def __init__(
        self,
        in_channels: Sequence[int],
        num_classes: int,
        out_channels: int = 256,
        *,
        context: nn.Module | None = None,
        pyramid_channels: int | None = None,
        detail_channels: int = 48,
        edge_channels: int = 256,
        decoder_weight: float = 1.0,
        edge_weight: float = 1.0,
        dropout: float = 0.0,
        negative_slope: float = 0.0,
    ) -> None:
        super().__init__()
        if context is not None and pyramid_channels is not None:
            raise refuse("pyramid_channels", pyramid_channels, "null: the context module has a width of its own")

        def layer(channels: int, out: int = out_channels) -> nn.Sequential:
            return conv_norm_act(channels, out, bias=False, negative_slope=negative_slope)

        *earlier, last = in_channels
        self.out_channels = out_channels
        self.decoder_weight = decoder_weight
        self.edge_weight = edge_weight
        self.context = context or PPM(last, pyramid_channels or 512, dropout=0.0)
        self.reduce = layer(self.context.out_channels)  # type: ignore[arg-type]
        self.detail = layer(earlier[0], detail_channels)
        self.decode = nn.Sequential(*layer(out_channels + detail_channels), *layer(out_channels))
        self.classifier = nn.Conv2d(out_channels, num_classes, 1)
        self.edge = EdgeBranch(earlier, edge_channels, negative_slope=negative_slope)
        self.fuse = layer(out_channels + len(earlier) * edge_channels)
        self.dropout = nn.Dropout2d(dropout)
        if isinstance(self.context, Attending):  # a head that attends is known by having this method
            self.attended = self._attended

    def forward(self, *stages: Tensor) -> Tensor:
        decoded = self._decoded(stages[0], self.context(stages[-1]))
        return self._fused(decoded, self.edge(*stages[:-1]))

    def supervised(self, *stages: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        own: Mapping[str, Tensor] = {}
        if isinstance(self.context, Supervised):
            features, own = self.context.supervised(stages[-1])
        else:
            features = self.context(stages[-1])
        decoded, edges = self._decoded(stages[0], features), self.edge(*stages[:-1])
        return self._fused(decoded, edges), {
            "decoder": self.classifier(decoded),
            "edge": self.edge.logits(edges),
            **{_CONTEXT + name: output for name, output in own.items()},
        }

    def losses(self, extras: Mapping[str, Tensor], batch: Batch, criterion: Criterion) -> dict[str, Tensor]:
        label = batch["label"].long()
        size = label.shape[-2:]
        edges = dilated(neighbour_edges(label), _EDGE_WIDTH)
        terms = {
            "decoder": self.decoder_weight * criterion(upsample(extras["decoder"], size), label),
            "edge": self.edge_weight * balanced_cross_entropy(upsample(extras["edge"], size), edges),
        }
        if isinstance(self.context, Supervised):
            own = {name.removeprefix(_CONTEXT): one for name, one in extras.items() if name.startswith(_CONTEXT)}
            terms |= {_CONTEXT + name: loss for name, loss in self.context.losses(own, batch, criterion).items()}
        return terms

    def _attended(self, *stages: Tensor) -> list[tuple[Attention, Tensor]]:
        assert isinstance(self.context, Attending)
        return self.context.attended(stages[-1])

    def _decoded(self, first: Tensor, context: Tensor) -> Tensor:
        size = first.shape[-2:]
        decoded: Tensor = self.decode(torch.cat([upsample(self.reduce(context), size), self.detail(first)], 1))
        return decoded

    def _fused(self, decoded: Tensor, edges: Sequence[Tensor]) -> Tensor:
        size = decoded.shape[-2:]
        fused: Tensor = self.fuse(torch.cat([decoded, *(upsample(one, size) for one in edges)], 1))
        dropped: Tensor = self.dropout(fused)
        return dropped
