"""Named results and losses of parsing and pose in stages, which JPPNet and MuLA share."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from ocnet_pl.model.contract import Batch, Criterion
from ocnet_pl.model.heatmaps import POSE, joints_of
from ocnet_pl.model.layers import upsample
from ocnet_pl.resizing import Size


class ParsingAndPose(nn.Module, ABC):
    """Results of both tasks in stages. The last parsing is the classifier; all others have losses of their own.

    Args:
        joints: number of joints in the target `pose` of the batch.
        stage_weight: weight of the loss of each parsing result but the last.
        pose_weight: weight of the loss of each pose result.
    """

    def __init__(self, joints: int, stage_weight: float, pose_weight: float) -> None:
        super().__init__()
        self.needed_targets = {POSE: (joints, 3)}
        self.stage_weight = stage_weight
        self.pose_weight = pose_weight

    def losses(self, extras: Mapping[str, Tensor], batch: Batch, criterion: Criterion) -> dict[str, Tensor]:
        label = batch["label"].long()
        image = (label.shape[-2], label.shape[-1])
        points = joints_of(batch, self.needed_targets[POSE][0])
        terms = {}
        for name, result in extras.items():
            if name.startswith("parsing"):
                terms[name] = self.stage_weight * criterion(upsample(result, image), label)
            else:
                terms[name] = self.pose_weight * self.pose_loss(result, points, image)
        return terms

    @abstractmethod
    def pose_loss(self, maps: Tensor, points: Tensor, image: Size) -> Tensor:
        """Loss of a pose result (B, maps, h, w), for joints (B, N, 3) in an image (H, W)."""


def extras_of_stages(parsings: Sequence[Tensor], poses: Sequence[Tensor]) -> dict[str, Tensor]:
    """The results that have losses of their own, by name."""
    extras = {f"parsing{number}": one for number, one in enumerate(parsings[:-1], 1)}
    return extras | {f"pose{number}": one for number, one in enumerate(poses, 1)}
