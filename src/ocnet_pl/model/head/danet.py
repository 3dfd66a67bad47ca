"""DANet (Fu et al. 2019, "Dual Attention Network for Scene Segmentation", arXiv:1809.02983, sections 3.2 to 3.4)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ocnet_pl.model.contract import Attention, Batch, Criterion
from ocnet_pl.model.layers import conv_norm_act, upsample, without_autocast
from ocnet_pl.model.whole_image_attention import WholeImageAttention


class PositionAttention(WholeImageAttention):
    """Attention between all positions. (B, C, H, W) -> gamma * attended + input, of the same shape.

    Similarities are not scaled. `gamma` is learned and starts at 0.

    Args:
        channels: channels of the input and of the value.
        key_channels: width of query and key.
    """

    name = "position attention"

    def __init__(self, channels: int, key_channels: int) -> None:
        super().__init__(channels, key_channels, channels, scale=1.0)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        return self.gamma * self.context(features) + features


class ChannelAttention(nn.Module):
    """Attention between all channels. (B, C, H, W) -> gamma * attended + input, of the same shape.

    Its C x C map says nothing about positions, so it cannot be shown on the image. It is computed in float32 under
    autocast as well: a similarity sums over all positions, which exceeds half precision. `gamma` starts at 0.

    Args:
        similar_channels: weight similar channels most, softmax(E), as in the paper (equation 3). The authors' code
            weights the least similar channels most, softmax(-E).
    """

    def __init__(self, *, similar_channels: bool = False) -> None:
        super().__init__()
        self.similar_channels = similar_channels
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        with without_autocast(features):
            channels = features.to(torch.promote_types(features.dtype, torch.float32)).flatten(2)
            energy = channels @ channels.transpose(1, 2)
            weights = (energy if self.similar_channels else -energy).softmax(-1)
            attended = (weights @ channels).view_as(features).to(features.dtype)
        return self.gamma * attended + features


class DANet(nn.Module):
    """Position attention and channel attention side by side, summed. (B, in, H, W) -> (B, out_channels, H, W).

    In training each of the two paths has a classifier of its own, whose loss is added.

    Deviations: the backbone has the dilation of all other heads here, where the authors' best row dilates the three
    blocks of layer4 by 4, 8 and 16; all layers have one learning rate unless `head_lr_factor` is set.

    Args:
        in_channels: channels of the last stage.
        num_classes: number of classes, for the classifiers of the two paths.
        out_channels: width of both paths (paper: a quarter of in_channels).
        key_channels: width of query and key in position attention; None: an eighth of out_channels.
        similar_channels: see `ChannelAttention`.
        path_weight: weight of the loss of each path.
        dropout: channel dropout before each of the three classifiers.
        negative_slope: slope of the leaky ReLU; 0 is the authors' ReLU.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        out_channels: int = 512,
        *,
        key_channels: int | None = None,
        similar_channels: bool = False,
        path_weight: float = 1.0,
        dropout: float = 0.1,
        negative_slope: float = 0.0,
    ) -> None:
        super().__init__()

        def layer(channels: int) -> nn.Sequential:
            return conv_norm_act(channels, out_channels, 3, bias=False, negative_slope=negative_slope)

        self.out_channels = out_channels
        self.path_weight = path_weight
        self.position_reduce = layer(in_channels)
        self.position_attention = PositionAttention(out_channels, key_channels or max(1, out_channels // 8))
        self.position_smooth = layer(out_channels)
        self.position_classifier = nn.Conv2d(out_channels, num_classes, 1)
        self.channel_reduce = layer(in_channels)
        self.channel_attention = ChannelAttention(similar_channels=similar_channels)
        self.channel_smooth = layer(out_channels)
        self.channel_classifier = nn.Conv2d(out_channels, num_classes, 1)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, features: Tensor) -> Tensor:
        position, channel = self._paths(features)
        return self.dropout(position + channel)

    def supervised(self, features: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        position, channel = self._paths(features)
        return self.dropout(position + channel), {
            "position": self.position_classifier(self.dropout(position)),
            "channel": self.channel_classifier(self.dropout(channel)),
        }

    def losses(self, extras: Mapping[str, Tensor], batch: Batch, criterion: Criterion) -> dict[str, Tensor]:
        label = batch["label"].long()
        return {
            name: self.path_weight * criterion(upsample(logits, label.shape[-2:]), label)
            for name, logits in extras.items()
        }

    def attended(self, features: Tensor) -> list[tuple[Attention, Tensor]]:
        return [(self.position_attention, self.position_reduce(features))]

    def _paths(self, features: Tensor) -> tuple[Tensor, Tensor]:
        position = self.position_smooth(self.position_attention(self.position_reduce(features)))
        channel = self.channel_smooth(self.channel_attention(self.channel_reduce(features)))
        return position, channel
