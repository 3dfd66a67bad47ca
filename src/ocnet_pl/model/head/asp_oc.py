"""ASP-OC (paper, section 3.2 and figure 2d): ASPP with object context pooling in place of image pooling."""

from collections.abc import Sequence

from torch import Tensor, nn

from ocnet_pl.model.contract import Attention
from ocnet_pl.model.head.aspp import ASPP
from ocnet_pl.model.layers import conv_norm_act
from ocnet_pl.model.object_context_pooling import ObjectContextPooling


class ASPOC(nn.Module):
    """Optional reduction, then five branches and their fusion. (B, in, H, W) -> (B, out_channels, H, W).

    Args:
        branch_channels: width of each branch; None: `out_channels`.
        key_channels: width of query and key; None: half of a branch.
        reduction_channels: width of a 3x3 reduction before all branches (the 2019 form: 512); None: the branches read
            the backbone's features (paper).
        downsample: factor of the max-pool before the attention (authors' code: 2; the paper does not say).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 512,
        *,
        branch_channels: int | None = None,
        key_channels: int | None = None,
        reduction_channels: int | None = None,
        downsample: int = 2,
        dilations: Sequence[int] = (12, 24, 36),
        share_query_key: bool = True,
        zero_init: bool = True,
        key_momentum: float | None = None,
        dropout: float = 0.1,
        negative_slope: float = 0.01,
    ) -> None:
        super().__init__()
        width = branch_channels or out_channels
        features = reduction_channels or in_channels
        self.out_channels = out_channels
        self.reduce = (
            conv_norm_act(in_channels, reduction_channels, 3, negative_slope=negative_slope)
            if reduction_channels
            else nn.Identity()
        )
        context = nn.Sequential(
            conv_norm_act(features, width, 3, negative_slope=negative_slope),
            ObjectContextPooling(
                width,
                key_channels=key_channels or width // 2,
                value_channels=width,
                out_channels=width,
                downsample=downsample,
                share_query_key=share_query_key,
                zero_init=zero_init,
                key_momentum=key_momentum,
                negative_slope=negative_slope,
            ),
            conv_norm_act(width, width, negative_slope=negative_slope),
        )
        self.pyramid = ASPP(
            features,
            out_channels,
            branch_channels=width,
            dilations=dilations,
            dropout=dropout,
            negative_slope=negative_slope,
            context=context,
        )

    def forward(self, features: Tensor) -> Tensor:
        return self.pyramid(self.reduce(features))

    def attended(self, features: Tensor) -> list[tuple[Attention, Tensor]]:
        before, pool, _ = self.pyramid.context.children()
        return [(pool, before(self.reduce(features)))]  # type: ignore[list-item]
