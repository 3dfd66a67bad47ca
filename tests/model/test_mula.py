"""MuLA with the weights of the authors' modules gives their outputs and gradients; its losses with plain formulas."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from golden_systems import (
    SEEN,
    assert_gradient,
    exchanged,
    golden_file,
    leaky,
    norms_and_activations,
    removed,
    shifted,
    with_weights,
)
from head_configs import head
from mirrored_poses import assert_mirrored_alike
from torch import Tensor, nn

from ocnet_pl.config.compose import compose
from ocnet_pl.errors import UserError
from ocnet_pl.loss.cross_entropy import CrossEntropy
from ocnet_pl.model.head import mula
from ocnet_pl.model.head.mula import MuLA, MutualAdaptation, adaptive_convolution
from ocnet_pl.model.hourglass import Hourglass

GOLDEN = golden_file("mula")
ADAPTIVE = golden_file("mula_adaptive", "adaptive/")
HOURGLASS = golden_file("mula_hourglass")
PLACES = {
    "encoder.bn": "encode.1", "encoder.conv1x1_1_list": "encode.0", "encoder.conv1x1_2_list": "carry",
    "encoder.conv_remap_list": "remap", "classifier": "classify", "param_adapter_list": "adapt.adapter",
    "conv1x1_U_list": "adapt.before", "conv1x1_V_list": "adapt.after.0", "bn_list": "adapt.after.1",
}  # fmt: skip


def public(name: str) -> str:
    """Our name of a parameter: task, stage, place in the stage."""
    task, _, rest = name.partition("_")
    place = next(place for place in PLACES if rest.startswith(f"{place}."))
    stage, _, of_layer = rest.removeprefix(f"{place}.").partition(".")
    return f"{task}.{stage}.{PLACES[place]}.{of_layer}"


def load() -> tuple[MuLA, Tensor, Tensor]:
    built = MuLA(4, 3, 3, joints=2)
    named = {name.removeprefix("param/"): tensor for name, tensor in GOLDEN.items() if name.startswith("param/")}
    # The encoder's classifiers are the same objects as the network's.
    weights = {public(name): tensor for name, tensor in named.items() if "conv_pred_list" not in name}
    own = {name for name in built.state_dict() if not name.startswith("reduce") and not name.endswith("tracked")}
    assert weights.keys() == own
    with_weights_of_stages = {f"param/{name}": tensor for name, tensor in weights.items()}
    with_weights_of_stages |= {f"param/{n}": t for n, t in built.state_dict().items() if n.startswith("reduce")}
    with_weights(built, with_weights_of_stages, {})
    return built, GOLDEN["x/parsing"].clone(), GOLDEN["x/pose"].clone()


def results(built: MuLA, parsing: Tensor, pose: Tensor) -> dict[str, Tensor]:
    parsings, poses = built._results(parsing, pose)
    return {
        f"{task}{number}": one
        for task, of_task in (("parsing", parsings), ("pose", poses))
        for number, one in enumerate(of_task)
    }


def difference(output: Tensor, theirs: Tensor) -> float:
    return float((output - theirs).abs().max() / theirs.abs().max())


@torch.no_grad()
def distances(*, training: bool, change: Callable[[nn.Module], None] = lambda built: None) -> list[float]:
    built, *inputs = load()
    change(built)
    found = []
    for name, output in results(built.train(training), *inputs).items():
        if name.endswith("1"):
            found.append(difference(output, GOLDEN[f"y_{'train' if training else 'eval'}/{name}"]))
        elif not training:
            found.append(difference(output[..., ::4, ::4], GOLDEN[f"y_eval/{name}/every_4th"]))
    return found


@pytest.mark.parametrize("training", [False, True])
def test_outputs(training: bool) -> None:
    assert max(distances(training=training)) <= 1e-5


def test_all_gradients() -> None:
    built, parsing, pose = load()
    outputs = results(built.train(), parsing.requires_grad_(), pose.requires_grad_())
    torch.stack(
        [(outputs[name] * GOLDEN[f"grad_seed/{name}"]).sum() for name in ("parsing1", "pose1")]
    ).sum().backward()
    for name, one in (("parsing", parsing), ("pose", pose)):
        assert one.grad is not None
        assert_gradient(one.grad[..., ::2, ::2], GOLDEN[f"grad_x_train/{name}/every_2nd"])
    prefix = "grad_param_train/"
    of_weights = {name.removeprefix(prefix): theirs for name, theirs in GOLDEN.items() if name.startswith(prefix)}
    assert len(of_weights) == 4
    for name, theirs in of_weights.items():
        assert_gradient(built.get_parameter(public(name)).grad, theirs)


def test_the_adaptive_convolution_alone() -> None:
    features, kernels = (ADAPTIVE[name].clone().requires_grad_() for name in ("x", "kernels"))
    output = adaptive_convolution(features, kernels)
    assert difference(output.detach(), ADAPTIVE["y"]) <= 1e-5
    (output * ADAPTIVE["grad_seed"]).sum().backward()
    assert_gradient(features.grad, ADAPTIVE["grad_x"])
    assert_gradient(kernels.grad, ADAPTIVE["grad_kernels"])
    with torch.no_grad():
        for other in (kernels.flip(0), kernels.flip(1), kernels.flip(-1), kernels.mT):
            assert difference(adaptive_convolution(features, other), ADAPTIVE["y"]) > SEEN


def hourglass() -> Hourglass:
    """Weights of the blocks; their 1x1 convolutions for other widths are never used."""
    places = [*(f"down.{number}" for number in range(4)), "bottom", *(f"up.{number}" for number in range(4))]
    weights = {f"param/output.0.{name[9:]}": one for name, one in HOURGLASS.items() if name.startswith("param/bn.")}
    for number, place in enumerate(places, 1):
        prefix = f"param/srb{number}.0.res_block."
        weights |= {
            f"param/{place}.layers.{name.removeprefix(prefix)}": one
            for name, one in HOURGLASS.items()
            if name.startswith(prefix)
        }
    return with_weights(Hourglass(4), weights, {})  # type: ignore[return-value]


@pytest.mark.parametrize("training", [False, True])
def test_an_hourglass(training: bool) -> None:
    built, features = hourglass().train(training), HOURGLASS["x/features"].clone().requires_grad_()
    output = built(features)
    assert difference(output.detach(), HOURGLASS[f"y_{'train' if training else 'eval'}/features"]) <= 1e-5
    if training:
        (output * HOURGLASS["grad_seed/features"]).sum().backward()
        assert_gradient(features.grad, HOURGLASS["grad_x_train/features"])
        block = built.get_parameter("bottom.layers.5.weight")
        assert_gradient(block.grad, HOURGLASS["grad_param_train/srb5.0.res_block.5.weight"])
        assert_gradient(built.get_parameter("output.0.weight").grad, HOURGLASS["grad_param_train/bn.weight"])


@torch.no_grad()
def hourglass_difference(change: Callable[[nn.Module], None]) -> float:
    """In training and testing: in testing, the smallest map is zero behind some layers."""
    found = []
    for training in (False, True):
        built = hourglass().train(training)
        change(built)
        output = built(HOURGLASS["x/features"])
        found.append(difference(output, HOURGLASS[f"y_{'train' if training else 'eval'}/features"]))
    return max(found)


@pytest.mark.parametrize("parameter", [name for name, _ in Hourglass(4).named_parameters()])
def test_every_weight_of_an_hourglass_would_be_seen(parameter: str) -> None:
    assert hourglass_difference(shifted(parameter)) > SEEN


@pytest.mark.parametrize("layer", [(name, i) for name, i in norms_and_activations(Hourglass(4))] + [("output", 0)])
def test_a_missing_layer_of_an_hourglass_would_be_seen(layer: tuple[str, int]) -> None:
    assert hourglass_difference(removed(*layer)) > SEEN


def test_a_small_map_has_no_hourglass() -> None:
    with pytest.raises(UserError, match=r"^hourglass: a map of 15x40 cannot be halved 4 times; use images"):
        Hourglass(4)(torch.zeros(1, 4, 15, 40))
    assert Hourglass(4)(torch.zeros(1, 4, 19, 60)).shape == (1, 4, 19, 60)


# Any change would be seen.

LAYERS = [place for place in norms_and_activations(load()[0]) if not place[0].startswith("reduce")]
PARAMETERS = [name for name, _ in load()[0].named_parameters() if not name.startswith("reduce")]


def averaging(layer: str, index: int) -> Callable[[nn.Module], None]:
    """Change: an average in place of a maximum; without the pool the kernels would have another size."""

    def change(built: nn.Module) -> None:
        built.get_submodule(layer)[index] = nn.AvgPool2d(2)  # type: ignore[operator]

    return change


@pytest.mark.parametrize(("layer", "index"), LAYERS)
def test_a_missing_norm_activation_or_pool_would_be_seen(layer: str, index: int) -> None:
    change = averaging if layer.endswith("adapter") else removed
    assert max(distances(training=False, change=change(layer, index))) > SEEN


@pytest.mark.parametrize("parameter", PARAMETERS)
def test_every_weight_would_be_seen(parameter: str) -> None:
    assert max(distances(training=False, change=shifted(parameter))) > SEEN


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


def carrying(what: Callable[..., Tensor]) -> Callable[[nn.Module], None]:
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


CHANGES: dict[str, Callable[[nn.Module], None]] = {
    "leaky": leaky,
    "own kernels": own_kernels,
    "without the sum": without_the_sum,
    "activations in the adapter": activated_adapters,
    "one kernel for all channels": one_kernel_for_all_channels,
    "adapted first": adapted_first,
    "no carried features": carrying(lambda stage, features, own, result: features + stage.remap(result)),
    "no carried result": carrying(lambda stage, features, own, result: features + stage.carry(own)),
    "no carried input": carrying(lambda stage, features, own, result: stage.carry(own) + stage.remap(result)),
    "tasks exchanged": exchanged("parsing.0.adapt", "pose.0.adapt"),
    "stages exchanged": exchanged("parsing.0.adapt", "parsing.1.adapt"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_any_change_would_be_seen(change: str) -> None:
    assert max(distances(training=False, change=CHANGES[change])) > SEEN


def test_carrying_adapted_features_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = MutualAdaptation.forward

    def noted(adapt: MutualAdaptation, own: Tensor, other: Tensor) -> Tensor:
        adapted = usual(adapt, own, other)
        seen[id(own)] = adapted
        return adapted

    seen: dict[int, Tensor] = {}
    monkeypatch.setattr(MutualAdaptation, "forward", noted)
    following = carrying(
        lambda stage, features, own, result: features + stage.carry(seen[id(own)]) + stage.remap(result)
    )
    assert max(distances(training=False, change=following)) > SEEN


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
    built, *inputs = load()
    expected = results(built.eval(), *inputs)["parsing1"]
    built.pose[1].adapt.forward = None  # type: ignore[assignment, union-attr]
    torch.testing.assert_close(built._results(*inputs, last_pose=False)[0][-1], expected, rtol=0, atol=0)


def labelled(*, ignored: bool = False) -> dict[str, Tensor]:
    torch.manual_seed(0)
    label = torch.full((2, 65, 97), 255) if ignored else torch.randint(5, (2, 65, 97))
    label[:, :9] = 255
    pose = torch.rand(2, 3, 3) * torch.tensor([96.0, 64.0, 1.0])
    pose[0, 1, :2] = torch.nan
    return {"label": label.to(torch.uint8), "pose": pose}


def small() -> tuple[MuLA, dict[str, Tensor]]:
    torch.manual_seed(1)
    built = MuLA(6, 5, 4, joints=3, stages=3, stage_weight=0.3, pose_weight=70.0, sigma=9.0).train()
    return built, dict(built.supervised(torch.randn(2, 6, 9, 13))[1])


def test_the_losses() -> None:
    built, extras = small()
    batch = labelled()
    terms = built.losses(extras, batch, CrossEntropy())
    assert set(terms) == {"parsing1", "parsing2", "pose1", "pose2", "pose3"}
    for name in ("parsing1", "parsing2"):
        logits = F.interpolate(extras[name], (65, 97), mode="bilinear", align_corners=True)
        torch.testing.assert_close(terms[name], 0.3 * F.cross_entropy(logits, batch["label"].long(), ignore_index=255))
    x, y = batch["pose"][..., 0, None, None], batch["pose"][..., 1, None, None]
    rows, columns = 8.0 * torch.arange(9)[:, None], 8.0 * torch.arange(13)
    joints = torch.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 81))
    joints = joints.where(joints >= 0.01, 0)
    assert not joints[0, 1].any(), "the missing joint"
    target = torch.cat([joints, 1 - joints.amax(1, keepdim=True)], 1)
    for name in ("pose1", "pose2", "pose3"):
        torch.testing.assert_close(terms[name], 70 * (extras[name] - target).square().mean())


def test_every_parameter_gets_a_gradient_without_any_label() -> None:
    built, _ = small()
    features, extras = built.supervised(torch.randn(2, 6, 9, 13))
    terms = built.losses(extras, labelled(ignored=True), CrossEntropy())
    assert all(bool(term == 0) is name.startswith("parsing") for name, term in terms.items())
    (features.sum() * 0 + torch.stack(list(terms.values())).sum()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in built.parameters())


@pytest.mark.parametrize(("pose", "words"), [(None, "no such target"), (torch.zeros(2, 16, 3), "has 16 joints")])
def test_batches_without_these_poses_are_refused(pose: Tensor | None, words: str) -> None:
    built, extras = small()
    batch = {name: one for name, one in labelled().items() if name != "pose"} | ({} if pose is None else {"pose": pose})
    with pytest.raises(UserError, match=f"^pose: .*{words}"):
        built.losses(extras, batch, CrossEntropy())


def test_a_mirrored_image_and_pose_have_the_same_loss_and_score() -> None:
    torch.manual_seed(0)
    assert_mirrored_alike(head("mula", 24, 20, out_channels=8))


def test_its_options_in_the_config() -> None:
    assert compose("model/head=mula", "dataset=lip").dataset.poses is True
    config = compose("model/head=mula")
    assert config.loss.auxiliary_weight == 0
    assert config.model.head.sigma == round(7 * 473 / 256)
