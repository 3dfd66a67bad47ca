"""MuLA with the weights of the authors' modules gives their outputs and gradients; its losses with plain formulas."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from changes import Change, exchanged, leaky, replaced
from golden_case import GoldenCase, GoldenTests, returning
from golden_numbers import SEEN, assert_gradient, assert_same, golden_file, relative_difference
from torch import Tensor, nn

from ocnet_pl.config.compose import compose
from ocnet_pl.errors import UserError
from ocnet_pl.model.head import mula
from ocnet_pl.model.head.mula import MuLA, MutualAdaptation, adaptive_convolution
from ocnet_pl.model.hourglass import Hourglass

PLACES = {
    "encoder.bn": "encode.1", "encoder.conv1x1_1_list": "encode.0", "encoder.conv1x1_2_list": "carry",
    "encoder.conv_remap_list": "remap", "classifier": "classify", "param_adapter_list": "adapt.adapter",
    "conv1x1_U_list": "adapt.before", "conv1x1_V_list": "adapt.after.0", "bn_list": "adapt.after.1",
}  # fmt: skip


def ours(name: str) -> str | None:
    """Our name of a parameter: task, stage, place in the stage."""
    if "conv_pred_list" in name:
        return None  # the encoder's classifiers are the same objects as the network's
    task, _, rest = name.partition("_")
    place = next(place for place in PLACES if rest.startswith(f"{place}."))
    stage, _, of_layer = rest.removeprefix(f"{place}.").partition(".")
    return f"{task}.{stage}.{PLACES[place]}.{of_layer}"


def stages() -> MuLA:
    """Both stages of both tasks, which begin with the golden features."""
    built = MuLA(4, 3, 3, joints=2)
    for name in ("reduce_parsing", "reduce_pose"):
        built.set_submodule(name, nn.Identity())
    return built


def results(built: MuLA, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    parsings, poses = built._results(inputs["parsing"], inputs["pose"])
    return {
        f"{task}{number}": one
        for task, of_task in (("parsing", parsings), ("pose", poses))
        for number, one in enumerate(of_task)
    }


def stages_of(built: nn.Module) -> list[nn.Module]:
    return [*built.parsing, *built.pose]  # type: ignore[misc]


def own_kernels(built: nn.Module) -> None:
    """Kernels from the features that they adapt."""
    for stage in stages_of(built):
        adapt = stage.adapt
        stage.adapt.forward = lambda own, other, adapt=adapt: MutualAdaptation.forward(adapt, own, own)  # type: ignore[method-assign, union-attr]


def without_the_sum(built: nn.Module) -> None:
    for stage in stages_of(built):
        adapt = stage.adapt
        stage.adapt.forward = (  # type: ignore[method-assign, union-attr]
            lambda own, other, adapt=adapt: MutualAdaptation.forward(adapt, own, other) - own
        )


def activated_adapters(built: nn.Module) -> None:
    for stage in stages_of(built):
        stage.adapt.adapter.insert(1, nn.ReLU())  # type: ignore[operator, union-attr]


def one_kernel_for_all_channels(built: nn.Module) -> None:
    for stage in stages_of(built):
        adapt = stage.adapt
        adapt.kernels = lambda other, adapt=adapt: (  # type: ignore[assignment, union-attr]
            MutualAdaptation.kernels(adapt, other).mean(1, keepdim=True).expand(-1, 3, -1, -1)
        )


def carrying(what: Callable[..., Tensor]) -> Change:
    def change(built: nn.Module) -> None:
        for stage in (built.parsing[0], built.pose[0]):  # type: ignore[index]
            stage.following = lambda features, own, result, stage=stage: what(stage, features, own, result)

    return change


def adapted_first(built: nn.Module) -> None:
    """Pose reads the parsing features after their adaptation."""
    for of_parsing, of_pose in zip(built.parsing, built.pose, strict=True):  # type: ignore[arg-type]
        adapt, other = of_pose.adapt, of_parsing.adapt
        of_pose.adapt.forward = lambda own, before, adapt=adapt, other=other: MutualAdaptation.forward(
            adapt, own, other(before, own)
        )


def noting_adapted_features(built: nn.Module) -> None:
    """The next stage reads the features behind their adaptation."""
    seen: dict[int, Tensor] = {}
    for stage in stages_of(built):
        adapt = stage.adapt

        def forward(own: Tensor, other: Tensor, adapt: Any = adapt) -> Tensor:
            seen[id(own)] = MutualAdaptation.forward(adapt, own, other)
            return seen[id(own)]

        adapt.forward = forward  # type: ignore[union-attr, assignment]
    carrying(lambda stage, features, own, result: features + stage.carry(seen[id(own)]) + stage.remap(result))(built)


POOLS = [name for name, part in stages().named_modules() if isinstance(part, nn.MaxPool2d)]


class TestMuLA(GoldenTests):
    case = GoldenCase(
        "mula",
        stages,
        results,
        ours,
        weight_gradients=4,
        changes={
            # Without a pool the kernels would have another size.
            **{f"average in {name}": replaced(name, lambda: nn.AvgPool2d(2)) for name in POOLS},
            "leaky": leaky,
            "own kernels": own_kernels,
            "without the sum": without_the_sum,
            "activations in the adapter": activated_adapters,
            "one kernel for all channels": one_kernel_for_all_channels,
            "adapted first": adapted_first,
            "no carried features": carrying(lambda stage, features, own, result: features + stage.remap(result)),
            "no carried result": carrying(lambda stage, features, own, result: features + stage.carry(own)),
            "no carried input": carrying(lambda stage, features, own, result: stage.carry(own) + stage.remap(result)),
            "carried adapted features": noting_adapted_features,
            "tasks exchanged": exchanged("parsing.0.adapt", "pose.0.adapt"),
            "stages exchanged": exchanged("parsing.0.adapt", "parsing.1.adapt"),
        },
    )


def test_the_adaptive_convolution_alone() -> None:
    golden = golden_file("mula_adaptive", "adaptive/")
    features, kernels = (golden[name].requires_grad_() for name in ("x", "kernels"))
    output = adaptive_convolution(features, kernels)
    assert_same(output, golden["y"])
    (output * golden["grad_seed"]).sum().backward()
    assert_gradient(features.grad, golden["grad_x"])
    assert_gradient(kernels.grad, golden["grad_kernels"])
    with torch.no_grad():
        for other in (kernels.flip(0), kernels.flip(1), kernels.flip(-1), kernels.mT):
            assert relative_difference(adaptive_convolution(features, other), golden["y"]) > SEEN


BLOCKS = [*(f"down.{number}" for number in range(4)), "bottom", *(f"up.{number}" for number in range(4))]


def of_hourglass(name: str) -> str | None:
    """Our name of a parameter; the blocks' 1x1 convolutions for other widths are never used."""
    for number, block in enumerate(BLOCKS, 1):
        layers = f"srb{number}.0.res_block."
        if name.startswith(layers):
            return f"{block}.layers.{name.removeprefix(layers)}"
    return f"output.0.{name.removeprefix('bn.')}" if name.startswith("bn.") else None


class TestAnHourglass(GoldenTests):
    case = GoldenCase(
        "mula_hourglass",
        lambda: Hourglass(4),
        returning("features"),
        of_hourglass,
        weight_gradients=2,
        changes={"leaky": leaky},
        modes=(False, True),  # in testing, the smallest map is zero behind some layers
    )


def test_a_small_map_has_no_hourglass() -> None:
    with pytest.raises(UserError, match=r"^hourglass: a map of 15x40 cannot be halved 4 times; use images"):
        Hourglass(4)(torch.zeros(1, 4, 15, 40))
    assert Hourglass(4)(torch.zeros(1, 4, 19, 60)).shape == (1, 4, 19, 60)


# Beyond the golden numbers: the whole head.


def test_the_number_of_parameters() -> None:
    def conv(into: int, out: int, kernel_size: int = 1) -> int:
        return into * out * kernel_size**2 + out

    norm, residual = 2 * 256, 256 * 128 + 9 * 128**2 + 128 * 256 + 2 * (256 + 128 + 128)
    stage = 3 * conv(256, 256, 3) + 3 * conv(256, 256) + 2 * norm  # adapter, encode, before, after
    carried = conv(256, 256)

    def task(results: int, stages: int) -> int:
        first = 9 * 2048 * 256 + norm
        return first + stages * (stage + conv(256, results)) + (stages - 1) * (carried + conv(results, 256))

    def count(**options: object) -> int:
        return sum(p.numel() for p in MuLA(2048, 19, **options).parameters())  # type: ignore[arg-type]

    assert count() == task(19, 2) + task(17, 2) == 17_472_584
    assert count(stages=5) == task(19, 5) + task(17, 5)
    assert count(hourglass=True) == count() + 4 * (9 * residual + norm)


def test_a_map_of_any_size_has_kernels_of_seven_by_seven() -> None:
    adapt = MutualAdaptation(4)
    assert all(adapt.kernels(torch.zeros(1, 4, *size)).shape[-2:] == (7, 7) for size in ((5, 97), (57, 64), (60, 60)))
    with torch.no_grad():
        features = torch.randn(1, 4, 60, 64)
        torch.testing.assert_close(adapt.kernels(features), adapt.adapter(features), rtol=0, atol=0)
        large = torch.randn(1, 4, 97, 97)
        torch.testing.assert_close(
            adapt.kernels(large), adapt.adapter(F.interpolate(large, (64, 64), mode="bilinear", align_corners=True))
        )
    sides = [side for side in range(40, 90) if adapt.adapter(torch.zeros(1, 4, side, side)).shape[-1] == 7]
    assert (sides[0], sides[-1]) == mula.ADAPTER_SIDES


@torch.no_grad()
def test_tests_compute_no_last_pose() -> None:
    built, _, inputs = TestMuLA.case.load()
    assert isinstance(built, MuLA)
    expected = results(built.eval(), inputs)["parsing1"]
    built.pose[1].adapt.forward = None  # type: ignore[assignment, union-attr]
    parsings, _ = built._results(inputs["parsing"], inputs["pose"], last_pose=False)
    torch.testing.assert_close(parsings[-1], expected, rtol=0, atol=0)


def test_the_pose_loss() -> None:
    """A mean square; heatmaps end where they fall below 0.01, and a last map is the background."""
    torch.manual_seed(0)
    maps, pose = torch.rand(2, 4, 9, 13), torch.rand(2, 3, 3) * torch.tensor([96.0, 64.0, 1.0])
    pose[0, 1, :2] = torch.nan
    x, y = pose[..., 0, None, None], pose[..., 1, None, None]
    rows, columns = 8.0 * torch.arange(9)[:, None], 8.0 * torch.arange(13)
    joints = torch.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 81))
    joints = joints.where(joints >= 0.01, 0)
    assert not joints[0, 1].any(), "the missing joint"
    target = torch.cat([joints, 1 - joints.amax(1, keepdim=True)], 1)
    built = MuLA(6, 5, 4, joints=3, sigma=9.0)
    torch.testing.assert_close(built.pose_loss(maps, pose, (65, 97)), (maps - target).square().mean())


def test_the_width_of_its_heatmaps_in_the_config() -> None:
    assert compose("model/head=mula").model.head.sigma == round(7 * 473 / 256)
