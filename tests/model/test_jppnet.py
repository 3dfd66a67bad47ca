"""JPPNet agrees with a second writing of it (golden numbers); its losses with plain formulas."""

import pytest
import torch
from changes import exchanged, leaky
from golden_case import GoldenCase, GoldenTests
from golden_numbers import SEEN, assert_gradient, golden_file
from torch import Tensor, nn

from ocnet_pl.model.head.jppnet import JPPNet, pose_distance

NAMES = {
    **{f"parsing1.{branch}": f"parsing_classifier.branches.{branch}" for branch in range(4)},
    "feat_a": "parsing_features.0", "feat_b": "parsing_features.2",
    **{f"pose1.pose_conv{number}": f"pose_features.{2 * number - 2}" for number in range(1, 7)},
    "pose1.pose_conv7": "pose_classifier.0", "pose1.pose_conv8": "pose_classifier.2",
    **{
        f"{task}{stage}.{theirs}": f"refine_{task}.{stage - 2}.{mine}"
        for task in ("parsing", "pose")
        for stage in (2, 3)
        for theirs, mine in {
            "own_remap": "own_remap.0", "other_remap": "other_remap.0",
            **{f"conv{number}": f"refine.{2 * number - 2}" for number in range(1, 5)}, "conv5": "classify.0",
            # A pose classifier is a list of one there.
            **({"last": "classify.2.branches"} if task == "parsing" else {"last.0": "classify.2"}),
        }.items()
    },
}  # fmt: skip


def small() -> JPPNet:
    return JPPNet((6, 7), 6, 5, joints=4, hidden_channels=8, remap_channels=3)


def results(built: JPPNet, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    parsings, poses = built._results(inputs["layer3"], inputs["layer4"])
    return {
        f"{task}{number}": one
        for task, of_task in (("parsing", parsings), ("pose", poses))
        for number, one in enumerate(of_task, 1)
    }


def other_dilation(built: nn.Module) -> None:
    branch = built.get_submodule("parsing_classifier.branches.0")
    branch.dilation = branch.padding = (5, 5)  # type: ignore[assignment]


def dilations_in_another_order(built: nn.Module) -> None:
    first, second = built.parsing_classifier.branches[:2]  # type: ignore[index, union-attr]
    first.weight, second.weight = second.weight, first.weight


def in_another_order(built: nn.Module) -> None:
    """The concatenation begins with the other task's result."""
    for refinement in (*built.refine_parsing, *built.refine_pose):  # type: ignore[misc]
        weight = refinement.refine[0].weight
        with torch.no_grad():
            weight.copy_(torch.cat([weight[:, 3:6], weight[:, :3], weight[:, 6:]], 1))


def with_the_refined_pose(built: nn.Module) -> None:
    """Parsing reads the pose of its own stage, not that of the stage before."""

    def other_results(earlier: Tensor, last: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        one, two = built.parsing_features(last), built.pose_features(earlier)  # type: ignore[operator]
        parsings, poses = [built.parsing_classifier(last)], [built.pose_classifier(two)]  # type: ignore[operator]
        for parse, pose in zip(built.refine_parsing, built.refine_pose, strict=True):  # type: ignore[arg-type]
            refined, two = pose(poses[-1], parsings[-1], two)
            poses.append(refined)
            refined, one = parse(parsings[-1], poses[-1], one)
            parsings.append(refined)
        return parsings, poses

    built._results = other_results  # type: ignore[assignment]


def features_after_the_last_layer(built: nn.Module) -> None:
    """The next stage reads the features behind the 1x1 convolution."""
    for refinement in (*built.refine_parsing, *built.refine_pose):  # type: ignore[misc]
        refinement.refine.append(refinement.classify[0])
        refinement.refine.append(refinement.classify[1])
        refinement.classify = refinement.classify[2]


class TestJPPNet(GoldenTests):
    case = GoldenCase(
        "jppnet",
        small,
        results,
        NAMES,
        same_in_training=True,
        changes={
            "leaky": leaky,
            "another dilation": other_dilation,
            "the other task's result first": in_another_order,
            "the refined pose": with_the_refined_pose,
            "features behind the 1x1 convolution": features_after_the_last_layer,
            "stages of parsing": exchanged("refine_parsing.0", "refine_parsing.1"),
            "stages of pose": exchanged("refine_pose.0", "refine_pose.1"),
            "dilations in another order": dilations_in_another_order,
        },
        # The golden numbers are positive before this one; the same layer of the other stage and task is seen.
        unseen=["refine_pose.1.own_remap.1"],
    )


def load() -> tuple[JPPNet, dict[str, Tensor]]:
    built, _, inputs = TestJPPNet.case.load()
    assert isinstance(built, JPPNet)
    return built, inputs


def test_the_pose_loss_and_its_gradient() -> None:
    golden = golden_file("jppnet")
    maps, heatmaps = golden["y_eval/pose3"].requires_grad_(), golden["heatmaps"]
    loss = pose_distance(maps, heatmaps)
    loss.backward()
    torch.testing.assert_close(loss.detach(), golden["pose_loss_of_pose3"], rtol=1e-5, atol=0)
    assert_gradient(maps.grad, golden["pose_loss_grad"])
    squared = (maps - heatmaps).square().sum((1, 2, 3)).mean()
    of_the_batch = torch.linalg.vector_norm(maps - heatmaps)
    assert all((other - loss).abs() > SEEN * loss for other in (squared, of_the_batch))


# Beyond the golden numbers: the whole head.


def test_the_number_of_parameters() -> None:
    def conv(into: int, out: int, kernel_size: int) -> int:
        return into * out * kernel_size**2 + out

    def refinement(own: int, other: int) -> int:
        stack = conv(512, 512, 3) + conv(512, 256, 5) + conv(256, 256, 7) + conv(256, 256, 9) + conv(256, 256, 1)
        return conv(own, 128, 1) + conv(other, 128, 1) + stack

    parsing = 4 * conv(2048, 19, 3) + conv(2048, 512, 3) + conv(512, 256, 3)
    parsing += 2 * (refinement(19, 16) + 4 * conv(256, 19, 3))
    pose = conv(1024, 512, 3) + conv(512, 512, 3) + conv(512, 256, 3) + 3 * conv(256, 256, 3)
    pose += conv(256, 512, 1) + conv(512, 16, 1) + 2 * (refinement(16, 19) + conv(256, 16, 1))
    built = JPPNet((1024, 2048), 19)
    assert sum(p.numel() for p in built.parameters()) == parsing + pose == 79_456_276
    assert built.refine_parsing[0].refine[6].weight.numel() == 81 * 256**2


def test_the_authors_initial_weights() -> None:
    built = JPPNet((64, 128), 19, 32)
    weight = built.parsing_features[0].weight.detach()
    # Cut at two standard deviations, a normal distribution has 0.88 of its standard deviation.
    assert float(weight.std()) == pytest.approx(0.0088, rel=0.02)
    assert weight.abs().max() <= 0.02
    assert not any(parameter.any() for name, parameter in built.named_parameters() if name.endswith("bias"))
    torch.manual_seed(0)
    unchanged = JPPNet((64, 128), 19, 32, initial_std=None).parsing_features[0]
    torch.manual_seed(0)
    torch.testing.assert_close(unchanged.weight, JPPNet((64, 128), 19, 32, initial_std=None).parsing_features[0].weight)
    assert unchanged.weight.abs().max() > 0.02


@torch.no_grad()
def test_testing_takes_the_mean_of_the_stages() -> None:
    built, inputs = load()
    stages, maps = results(built, inputs), inputs.values()
    torch.testing.assert_close(built.eval()(*maps), (stages["parsing1"] + stages["parsing2"] + stages["parsing3"]) / 3)
    torch.testing.assert_close(built.train()(*maps), stages["parsing3"])
    one = JPPNet((6, 7), 6, 5, stages=1)
    torch.testing.assert_close(one(*maps), one.parsing_classifier(inputs["layer4"]))


@torch.no_grad()
def test_tests_compute_no_last_pose() -> None:
    built, inputs = load()
    built.refine_pose[1].forward = None  # type: ignore[assignment, method-assign]
    built.eval()(*inputs.values())


def test_the_pose_loss() -> None:
    """A mean of Euclidean distances; heatmaps end 25 pixels around the joint."""
    torch.manual_seed(0)
    maps, pose = torch.rand(2, 4, 13, 17), torch.rand(2, 4, 3) * torch.tensor([128.0, 96.0, 1.0])
    pose[0, 1, :2] = torch.nan
    x, y = pose[..., 0, None, None], pose[..., 1, None, None]
    rows, columns = 8.0 * torch.arange(13)[:, None], 8.0 * torch.arange(17)
    distance = (columns - x) ** 2 + (rows - y) ** 2
    target = torch.exp(-distance / (2 * 64)).where(distance <= 25**2, 0)
    assert not target[0, 1].any(), "the missing joint"
    torch.testing.assert_close(small().pose_loss(maps, pose, (97, 129)), (maps - target).flatten(1).norm(dim=1).mean())


def test_a_perfect_pose_has_a_finite_gradient() -> None:
    maps = torch.rand(2, 4, 5, 6, requires_grad=True)
    pose_distance(maps, maps.detach().clone()).backward()
    assert maps.grad is not None
    assert not maps.grad.any()
