"""CCNet (Huang et al. 2019, "CCNet: Criss-Cross Attention for Semantic Segmentation", arXiv:1811.11721, section 3).

Layers are those of the authors' code (`networks/ccnet.py` and `cc_attention/functions.py`).
"""

import torch
from torch import Tensor, nn

from ocnet_pl.arguments import ArgumentError
from ocnet_pl.model.context_block_head import ContextBlockHead
from ocnet_pl.resizing import Size


class CrissCrossAttention(nn.Module):
    """Attention of each position to its column and row. (B, C, H, W) -> gamma * attended + input, of the same shape.

    One softmax runs over the H + W - 1 positions; the position itself counts once. Similarities are not scaled. `gamma`
    is learned and starts at 0.

    Args:
        channels: channels of the input and of the value.
        key_channels: width of query and key.
    """

    def __init__(self, channels: int, key_channels: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, key_channels, 1)
        self.key = nn.Conv2d(channels, key_channels, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        columns, rows = self.weights(features)
        value = self.value(features)
        down = (columns @ value.permute(0, 3, 2, 1)).permute(0, 3, 2, 1)
        across = (rows @ value.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self.gamma * (down + across) + features

    def weights(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Weights in the column (B, W, H, H) and in the row (B, H, W, W) of each position; they sum to 1 together."""
        query, key = self.query(features), self.key(features)
        height = features.shape[2]
        columns = query.permute(0, 3, 2, 1) @ key.permute(0, 3, 1, 2)
        rows = query.permute(0, 2, 3, 1) @ key.permute(0, 2, 1, 3)
        itself = torch.eye(height, dtype=torch.bool, device=features.device)
        columns = columns.masked_fill(itself, float("-inf"))  # the row holds it
        weights = torch.cat([columns.transpose(1, 2), rows], 3).softmax(3)
        return weights[..., :height].transpose(1, 2), weights[..., height:]


class RecurrentCrissCross(CrissCrossAttention):
    """The same criss-cross attention several times. (B, C, H, W) -> the same shape.

    Its map is the product of the maps of all passes: the weights of what reaches a position through every pass. After
    two passes it covers the whole image. Each pass also adds its input, which the map leaves out.

    Args:
        channels: channels of the input and of the value.
        key_channels: width of query and key.
        recurrence: number of passes.
    """

    def __init__(self, channels: int, key_channels: int, recurrence: int) -> None:
        super().__init__(channels, key_channels)
        if recurrence < 1:
            raise ArgumentError(f"recurrence={recurrence}: expected 1 or more; the published network has 2")
        self.recurrence = recurrence

    @property
    def name(self) -> str:
        return "criss-cross" if self.recurrence == 1 else f"criss-cross, {self.recurrence} passes"

    def forward(self, features: Tensor) -> Tensor:
        for _ in range(self.recurrence):
            features = super().forward(features)
        return features

    def size(self, features: Tensor) -> Size:
        height, width = features.shape[2:]
        return height, width

    def rows(self, features: Tensor, points: Tensor) -> Tensor:
        passes = []
        for _ in range(self.recurrence):
            passes.append(self.weights(features))
            features = super().forward(features)
        x, y = points.T
        reached = features.new_zeros(len(points), *features.shape[2:])
        reached[torch.arange(len(points)), y, x] = 1
        for columns, rows in reversed(passes):
            down = torch.einsum("phw,whk->pkw", reached, columns[0])
            reached = down + torch.einsum("phw,hwk->phk", reached, rows[0])
        return reached

    def reach(self, x: int, y: int, size: Size) -> Tensor:
        reached = torch.full(size, self.recurrence > 1)
        reached[y], reached[:, x] = True, True
        return reached


class CCNet(ContextBlockHead):
    """Recurrent criss-cross attention between two 3x3 convolutions, fused with the input.

    (B, in, H, W) -> (B, out_channels, H, W).

    It follows the conference paper and its code. The category-consistent loss of the journal version is in neither.

    Args:
        in_channels: channels of the last stage.
        out_channels: width of the head (paper: a quarter of in_channels).
        key_channels: width of query and key; None: an eighth of out_channels.
        recurrence: passes of the attention.
        dropout: channel dropout before the classifier.
        negative_slope: slope of the leaky ReLU; 0.01 is the authors'.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 512,
        *,
        key_channels: int | None = None,
        recurrence: int = 2,
        dropout: float = 0.1,
        negative_slope: float = 0.01,
    ) -> None:
        block = RecurrentCrissCross(out_channels, key_channels or max(1, out_channels // 8), recurrence)
        super().__init__(in_channels, block, out_channels, dropout=dropout, negative_slope=negative_slope)
