"""EncNet (Zhang et al. 2018, "Context Encoding for Semantic Segmentation", arXiv:1803.08904, section 3).

Layers follow the authors' code (zhanghang1989/PyTorch-Encoding, `encoding/models/sseg/encnet.py`, `encoding/nn`).
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ocnet_pl.model.contract import Batch, Criterion
from ocnet_pl.model.layers import conv_norm_act, upsample, without_autocast


class Encoding(nn.Module):
    """Residuals to codewords, softly assigned and summed over all positions. (B, D, H, W) -> (B, K, D) in float32.

    a_ik = softmax over k of s_k |x_i - c_k|^2, and e_k = sum over i of a_ik (x_i - c_k). Both are expanded, so that
    memory holds N x K weights and no N x K x D residuals. Their terms cancel, so they are float32 under autocast, too.

    Args:
        channels: width D of features and codewords.
        codewords: number K of codewords.
    """

    def __init__(self, channels: int, codewords: int = 32) -> None:
        super().__init__()
        bound = (codewords * channels) ** -0.5
        self.codewords = nn.Parameter(torch.empty(codewords, channels).uniform_(-bound, bound))
        self.scale = nn.Parameter(torch.empty(codewords).uniform_(-1, 0))

    def forward(self, features: Tensor) -> Tensor:
        with without_autocast(features):
            tokens = features.to(torch.promote_types(features.dtype, torch.float32)).flatten(2)  # (B, D, N)
            weights = (self.scale[:, None] * self._distances(tokens)).softmax(1)  # (B, K, N)
            return weights @ tokens.transpose(1, 2) - weights.sum(2, keepdim=True) * self.codewords

    def _distances(self, tokens: Tensor) -> Tensor:
        """Squared distances of tokens (B, D, N) to all codewords, (B, K, N)."""
        squares = tokens.square().sum(1, keepdim=True)
        return squares - 2 * self.codewords @ tokens + self.codewords.square().sum(1)[:, None]


class EncNet(nn.Module):
    """Features gated by a code of the whole image. (B, in, H, W) -> (B, out_channels, H, W).

    In training the code also predicts which classes occur in the crop, whose loss is added. The code is a sum over
    positions that passes a batch norm, so its statistics hold for maps of the size of a training crop.

    Deviations from the authors' code: its choice of lateral connections by the data set's name is a class of its own
    here; the auxiliary classifier has the width and weight of all heads.

    Args:
        in_channels: channels of the last stage; of three stages with lateral connections.
        num_classes: number of classes, for the prediction of their presence.
        out_channels: width of the features and of the code.
        codewords: number of codewords.
        presence_weight: weight of the loss of the predicted presence.
        dropout: dropout of single values before the classifier.
        negative_slope: slope of the leaky ReLU; 0 is the authors' ReLU.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        out_channels: int = 512,
        *,
        codewords: int = 32,
        presence_weight: float = 0.2,
        dropout: float = 0.1,
        negative_slope: float = 0.0,
    ) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.num_classes = num_classes
        self.presence_weight = presence_weight
        self.reduce = conv_norm_act(in_channels, out_channels, 3, bias=False, negative_slope=negative_slope)
        self.prepare = conv_norm_act(out_channels, out_channels, bias=False, negative_slope=negative_slope)
        self.encoding = Encoding(out_channels, codewords)
        self.norm = nn.BatchNorm1d(codewords)
        self.activation = nn.LeakyReLU(negative_slope)
        self.gate = nn.Linear(out_channels, out_channels)
        self.presence = nn.Linear(out_channels, num_classes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, *maps: Tensor) -> Tensor:
        return self._gated(*maps)[0]

    def supervised(self, *maps: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        features, code = self._gated(*maps)
        return features, {"presence": self.presence(code)}

    def losses(self, extras: Mapping[str, Tensor], batch: Batch, criterion: Criterion) -> dict[str, Tensor]:
        target = presence_target(batch["label"], self.num_classes)
        loss = F.binary_cross_entropy_with_logits(extras["presence"].float(), target)
        return {"presence": self.presence_weight * loss}

    def code(self, features: Tensor) -> Tensor:
        """Code of each image, (B, C, H, W) -> (B, C) in float32."""
        prepared = self.prepare(features)
        with without_autocast(features):  # a sum over all positions exceeds half precision
            return self.activation(self.norm(self.encoding(prepared))).mean(1)

    def features(self, *maps: Tensor) -> Tensor:
        """Features that are encoded and gated, (B, out_channels, H, W)."""
        (last,) = maps
        return self.reduce(last)

    def _gated(self, *maps: Tensor) -> tuple[Tensor, Tensor]:
        features = self.features(*maps)
        code = self.code(features)
        gate = self.gate(code).sigmoid().to(features.dtype)
        return self.dropout(self.activation(features + features * gate[:, :, None, None])), code


class EncNetLateral(EncNet):
    """EncNet with lateral connections from two earlier stages, as its authors train it on PASCAL.

    Stages (B, C_i, h_i, w_i) -> (B, out_channels, h, w), at the stride of the last stage.

    Args:
        in_channels: channels of the three stages.
        arguments: as for `EncNet`.
    """

    levels: ClassVar[tuple[int, ...]] = (-3, -2, -1)

    def __init__(
        self,
        in_channels: Sequence[int],
        num_classes: int,
        out_channels: int = 512,
        *,
        codewords: int = 32,
        presence_weight: float = 0.2,
        dropout: float = 0.1,
        negative_slope: float = 0.0,
    ) -> None:
        *earlier, last = in_channels
        super().__init__(
            last, num_classes, out_channels, codewords=codewords, presence_weight=presence_weight,
            dropout=dropout, negative_slope=negative_slope,
        )  # fmt: skip

        def layer(channels: int, kernel_size: int) -> nn.Sequential:
            return conv_norm_act(channels, out_channels, kernel_size, bias=False, negative_slope=negative_slope)

        self.lateral = nn.ModuleList(layer(channels, 1) for channels in earlier)
        self.fuse = layer(len(in_channels) * out_channels, 3)

    def features(self, *maps: Tensor) -> Tensor:
        *earlier, last = maps
        reduced = self.reduce(last)
        lateral = [layer(stage) for layer, stage in zip(self.lateral, earlier, strict=True)]
        return self.fuse(torch.cat([reduced, *(upsample(one, reduced.shape[2:]) for one in lateral)], 1))


def presence_target(label: Tensor, num_classes: int) -> Tensor:
    """1 for each class that occurs in a label, else 0; ignored pixels count for none. (B, H, W) -> (B, K) floats."""
    occurs = torch.zeros(len(label), 256, device=label.device).scatter_(1, label.long().flatten(1), 1.0)
    return occurs[:, :num_classes]
