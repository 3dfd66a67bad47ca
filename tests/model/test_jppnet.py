"""JPPNet agrees with a second writing of it (golden numbers); its losses with plain formulas."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from golden_systems import SEEN, assert_gradient, exchanged, golden_file, leaky, ours, shifted, with_weights
from head_configs import head
from mirrored_poses import assert_mirrored_alike
from torch import Tensor, nn

from ocnet_pl.config.compose import compose
from ocnet_pl.errors import UserError
from ocnet_pl.loss.cross_entropy import CrossEntropy
from ocnet_pl.model.head.jppnet import JPPNet, pose_distance

GOLDEN = golden_file("jppnet")
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
            "last": "classify.2.branches" if task == "parsing" else "classify.2",
        }.items()
    },
}  # fmt: skip


def public(name: str) -> str:
    """Our name of a parameter; a pose classifier is a list of one there."""
    for stage in (2, 3):
        name = name.replace(f"pose{stage}.last.0.", f"pose{stage}.last.")
    return ours(name, NAMES)


def small() -> JPPNet:
    return JPPNet((6, 7), 6, 5, joints=4, hidden_channels=8, remap_channels=3)


def load() -> tuple[JPPNet, Tensor, Tensor]:
    weights = {f"param/{public(name.removeprefix('param/'))}": t for name, t in GOLDEN.items() if name[:6] == "param/"}
    built = small()
    assert weights.keys() == {f"param/{name}" for name in built.state_dict()}
    with_weights(built, weights, {})
    return built, GOLDEN["x/layer3"].clone(), GOLDEN["x/layer4"].clone()


def results(built: JPPNet, earlier: Tensor, last: Tensor) -> dict[str, Tensor]:
    parsings, poses = built._results(earlier, last)
    return {
        f"{task}{number}": one
        for task, of_task in (("parsing", parsings), ("pose", poses))
        for number, one in enumerate(of_task, 1)
    }


@torch.no_grad()
def distances(change: Callable[[nn.Module], None] = lambda built: None) -> list[float]:
    built, *inputs = load()
    change(built)
    return [
        float((output - GOLDEN[f"y_eval/{name}"]).abs().max() / GOLDEN[f"y_eval/{name}"].abs().max())
        for name, output in results(built, *inputs).items()
    ]


def test_outputs_of_all_stages() -> None:
    assert len(distances()) == 6
    assert max(distances()) <= 1e-5


def test_all_gradients() -> None:
    built, earlier, last = load()
    outputs = results(built.train(), earlier.requires_grad_(), last.requires_grad_())
    torch.stack([(output * GOLDEN[f"grad_seed/{name}"]).sum() for name, output in outputs.items()]).sum().backward()
    assert_gradient(earlier.grad, GOLDEN["grad_x_train/layer3"])
    assert_gradient(last.grad, GOLDEN["grad_x_train/layer4"])
    prefix = "grad_param_train/"
    of_weights = {name.removeprefix(prefix): theirs for name, theirs in GOLDEN.items() if name.startswith(prefix)}
    assert len(of_weights) == 3
    for name, theirs in of_weights.items():
        assert_gradient(built.get_parameter(public(name)).grad, theirs)


def test_the_pose_loss_and_its_gradient() -> None:
    maps = GOLDEN["y_eval/pose3"].clone().requires_grad_()
    loss = pose_distance(maps, GOLDEN["heatmaps"])
    loss.backward()
    torch.testing.assert_close(loss.detach(), GOLDEN["pose_loss_of_pose3"], rtol=1e-5, atol=0)
    assert_gradient(maps.grad, GOLDEN["pose_loss_grad"])
    squared = (maps - GOLDEN["heatmaps"]).square().sum((1, 2, 3)).mean()
    of_the_batch = torch.linalg.vector_norm(maps - GOLDEN["heatmaps"])
    assert all((other - loss).abs() > SEEN * loss for other in (squared, of_the_batch))


# Any change would be seen.

LAYERS = [
    (name, index)
    for name, part in small().named_modules()
    if isinstance(part, nn.Sequential)
    for index in range(len(part))
    if isinstance(part[index], nn.LeakyReLU)
]


@pytest.mark.parametrize(("layer", "index"), LAYERS)
def test_a_missing_activation_would_be_seen(layer: str, index: int) -> None:
    def change(built: nn.Module) -> None:
        built.get_submodule(layer)[index] = nn.Identity()  # type: ignore[operator]

    # The golden numbers are positive before this one; the same layer of the other stage and task is seen.
    assert (max(distances(change)) > SEEN) is (layer != "refine_pose.1.own_remap")


@pytest.mark.parametrize("parameter", [name for name, _ in small().named_parameters()])
def test_every_weight_would_be_seen(parameter: str) -> None:
    assert max(distances(shifted(parameter))) > SEEN


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


CHANGES: list[Callable[[nn.Module], None]] = [
    leaky, other_dilation, in_another_order, with_the_refined_pose, features_after_the_last_layer,
    exchanged("refine_parsing.0", "refine_parsing.1"), exchanged("refine_pose.0", "refine_pose.1"),
    dilations_in_another_order,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_any_change_would_be_seen(change: Callable[[nn.Module], None]) -> None:
    assert max(distances(change)) > SEEN


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
    built, *inputs = load()
    stages = results(built, *inputs)
    torch.testing.assert_close(
        built.eval()(*inputs), (stages["parsing1"] + stages["parsing2"] + stages["parsing3"]) / 3
    )
    torch.testing.assert_close(built.train()(*inputs), stages["parsing3"])
    one = JPPNet((6, 7), 6, 5, stages=1)
    torch.testing.assert_close(one(*inputs), one.parsing_classifier(inputs[1]))


@torch.no_grad()
def test_tests_compute_no_last_pose() -> None:
    built, *inputs = load()
    built.refine_pose[1].forward = None  # type: ignore[assignment, method-assign]
    built.eval()(*inputs)


def labelled(*, ignored: bool = False) -> dict[str, Tensor]:
    torch.manual_seed(0)
    label = torch.full((2, 97, 129), 255) if ignored else torch.randint(6, (2, 97, 129))
    label[:, :9] = 255
    pose = torch.rand(2, 4, 3) * torch.tensor([128.0, 96.0, 1.0])
    pose[0, 1, :2] = torch.nan
    return {"label": label.to(torch.uint8), "pose": pose}


def test_the_losses() -> None:
    built, *inputs = load()
    built.stage_weight, built.pose_weight = 0.3, 0.7
    _, extras = built.train().supervised(*inputs)
    batch = labelled()
    terms = built.losses(extras, batch, CrossEntropy())
    assert set(terms) == {"parsing1", "parsing2", "pose1", "pose2", "pose3"}
    for name in ("parsing1", "parsing2"):
        logits = F.interpolate(extras[name], (97, 129), mode="bilinear", align_corners=True)
        torch.testing.assert_close(terms[name], 0.3 * F.cross_entropy(logits, batch["label"].long(), ignore_index=255))
    x, y = batch["pose"][..., 0, None, None], batch["pose"][..., 1, None, None]
    rows, columns = 8.0 * torch.arange(13)[:, None], 8.0 * torch.arange(17)
    distance = (columns - x) ** 2 + (rows - y) ** 2
    target = torch.exp(-distance / (2 * 64)).where(distance <= 25**2, 0)
    assert not target[0, 1].any(), "the missing joint"
    for name in ("pose1", "pose2", "pose3"):
        lengths = (extras[name] - target).flatten(1).norm(dim=1)
        torch.testing.assert_close(terms[name], 0.7 * lengths.mean())


def test_every_parameter_gets_a_gradient_without_any_label() -> None:
    built, *inputs = load()
    features, extras = built.train().supervised(*inputs)
    terms = built.losses(extras, labelled(ignored=True), CrossEntropy())
    assert all(bool(term == 0) is name.startswith("parsing") for name, term in terms.items())
    (features.sum() * 0 + torch.stack(list(terms.values())).sum()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in built.parameters())


def test_a_perfect_pose_has_a_finite_gradient() -> None:
    maps = torch.rand(2, 4, 5, 6, requires_grad=True)
    pose_distance(maps, maps.detach().clone()).backward()
    assert maps.grad is not None
    assert not maps.grad.any()


@pytest.mark.parametrize(("pose", "words"), [(None, "no such target"), (torch.zeros(2, 15, 3), "has 15 joints")])
def test_batches_without_these_poses_are_refused(pose: Tensor | None, words: str) -> None:
    built, *inputs = load()
    batch = {name: one for name, one in labelled().items() if name != "pose"} | ({} if pose is None else {"pose": pose})
    with pytest.raises(UserError, match=f"^pose: .*{words}"):
        built.losses(built.supervised(*inputs)[1], batch, CrossEntropy())


def test_a_mirrored_image_and_pose_have_the_same_loss_and_score() -> None:
    assert_mirrored_alike(head("jppnet", 24, 20, out_channels=8, hidden_channels=12, remap_channels=2, initial_std=0.2))


def test_it_turns_on_the_poses_of_lip() -> None:
    assert compose("model/head=jppnet", "dataset=lip").dataset.poses is True
    assert compose("model/head=jppnet", "dataset=lip", "dataset.poses=false").dataset.poses is False
    assert compose("model/head=danet", "dataset=lip").dataset.poses is False
    assert compose("model/head=jppnet").loss.auxiliary_weight == 0
