"""Non-local head (Wang et al. 2018, "Non-local Neural Networks", arXiv:1711.07971, section 3.3).

Layers and initial values are those of mmsegmentation 1.2.2 (`nl_head.py`) and mmcv 2.1.0 (`non_local.py`): the paper
itself does not segment scenes.
"""

from torch import Tensor, nn

from ocnet_pl.model.context_block_head import ContextBlockHead
from ocnet_pl.model.whole_image_attention import WholeImageAttention


class NonLocalBlock(WholeImageAttention):
    """Attention between all positions, added to the input. (B, channels, H, W) -> the same shape.

    The norm after the output transform has weight 0 at first, so the block starts as identity.

    Args:
        channels: channels of the input.
        key_channels: width of query, key and value; similarities are scaled by 1 / sqrt(key_channels).
    """

    def __init__(self, channels: int, key_channels: int) -> None:
        super().__init__(channels, key_channels, key_channels)
        self.project = nn.Sequential(nn.Conv2d(key_channels, channels, 1, bias=False), nn.BatchNorm2d(channels))
        for layer in (self.query, self.key, self.value):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        nn.init.zeros_(self.project[1].weight)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Tensor:
        return features + self.project(self.context(features))


class NonLocal(ContextBlockHead):
    """Non-local block between two 3x3 convolutions, fused with the input. (B, in, H, W) -> (B, out_channels, H, W).

    Unlike in Base-OC, query and key are two transforms without norm, the context is added instead of concatenated, and
    the fusion reads the backbone's features.

    Args:
        in_channels: channels of the last stage.
        out_channels: width of the head.
        key_channels: width of query, key and value; None: half of out_channels.
        dropout: channel dropout before the classifier.
        negative_slope: slope of the leaky ReLU; 0 is the source's ReLU.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 512,
        *,
        key_channels: int | None = None,
        dropout: float = 0.1,
        negative_slope: float = 0.0,
    ) -> None:
        block = NonLocalBlock(out_channels, key_channels or max(1, out_channels // 2))
        super().__init__(in_channels, block, out_channels, dropout=dropout, negative_slope=negative_slope)
