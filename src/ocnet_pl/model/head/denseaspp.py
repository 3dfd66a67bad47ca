"""DenseASPP (Yang et al. 2018, "DenseASPP for Semantic Segmentation in Street Scenes", CVPR 2018, section 3).

Layers follow the authors' released network (DeepMotionAIResearch/DenseASPP, `models/DenseASPP.py`).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ocnet_pl.model.layers import conv_norm_act


class DenseASPPBlock(nn.Sequential):
    """Norm, ReLU, 1x1 convolution, norm, ReLU, dilated 3x3 convolution, dropout. (B, in, H, W) -> (B, out, H, W).

    Args:
        in_channels: channels of the input.
        hidden_channels: width between the two convolutions.
        out_channels: channels that the block adds.
        dilation: dilation of the 3x3 convolution.
        norm: begin with a norm; the first block does not.
        dropout: channel dropout of the output.
        momentum: weight of a batch in the norms' running statistics.
        negative_slope: slope of the leaky ReLU.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        out_channels: int,
        dilation: int,
        *,
        norm: bool,
        dropout: float,
        momentum: float,
        negative_slope: float,
    ) -> None:
        super().__init__(
            nn.BatchNorm2d(in_channels, momentum=momentum) if norm else nn.Identity(),
            nn.LeakyReLU(negative_slope),
            *conv_norm_act(in_channels, hidden_channels, negative_slope=negative_slope, momentum=momentum),
            nn.Conv2d(hidden_channels, out_channels, 3, padding=dilation, dilation=dilation),
            nn.Dropout2d(dropout),
        )


class DenseASPP(nn.Module):
    """Dilated convolutions, each on the features and the outputs of all before it. (B, in, H, W) -> (B, out, H, W).

    The output is the concatenation of all, the newest first: in_channels + len(dilations) * growth channels. The last
    stage passes a ReLU first, which changes nothing behind a ResNet: in the authors' code the first block's ReLU works
    in place on the map that all later layers read.

    Deviations from the authors' code: norms have momentum 0.1, theirs 0.0003, which short runs do not reach; on a
    ResNet the blocks read all its channels, where the paper's DenseNet halves them.

    Args:
        in_channels: channels of the last stage.
        out_channels: width of a 1x1 fusion behind the concatenation; None: none, as in the paper.
        hidden_channels: width inside a block (512 on DenseNet-161, 128 on DenseNet-121).
        growth: channels that a block adds (128 on DenseNet-161, 64 on DenseNet-121).
        dilations: dilation of each block.
        momentum: weight of a batch in the norms' running statistics.
        dropout: channel dropout behind each block and before the classifier.
        negative_slope: slope of the leaky ReLU; 0 is the authors' ReLU.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        *,
        hidden_channels: int = 256,
        growth: int = 64,
        dilations: Sequence[int] = (3, 6, 12, 18, 24),
        momentum: float = 0.1,
        dropout: float = 0.1,
        negative_slope: float = 0.0,
    ) -> None:
        super().__init__()
        self.activation = nn.LeakyReLU(negative_slope)
        self.blocks = nn.ModuleList(
            DenseASPPBlock(
                in_channels + number * growth, hidden_channels, growth, dilation,
                norm=number > 0, dropout=dropout, momentum=momentum, negative_slope=negative_slope,
            )
            for number, dilation in enumerate(dilations)
        )  # fmt: skip
        channels = in_channels + len(self.blocks) * growth
        self.out_channels = out_channels or channels
        self.fuse: nn.Module = nn.Identity()
        if out_channels is not None:
            self.fuse = conv_norm_act(
                channels, out_channels, bias=False, negative_slope=negative_slope, momentum=momentum
            )
        self.dropout = nn.Dropout2d(dropout)
        self.apply(_initialize)

    def forward(self, features: Tensor) -> Tensor:
        features = self.activation(features)
        for block in self.blocks:
            features = torch.cat([block(features), features], 1)
        return self.dropout(self.fuse(features))


def _initialize(module: nn.Module) -> None:
    """Initial values of the authors: He et al.'s uniform distribution; biases as PyTorch draws them."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_uniform_(module.weight)
