"""Structure-sensitive losses against golden numbers (tests/golden/README.md), and their place in the training step."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from conftest import TINY, Main
from golden_numbers import SEEN, assert_gradient, golden_file
from torch import Tensor, nn

from ocnet_pl.build import build_bare_module
from ocnet_pl.config.compose import compose
from ocnet_pl.config.construct import construct
from ocnet_pl.dataset.lip import LIP
from ocnet_pl.errors import UserError
from ocnet_pl.loss import structure
from ocnet_pl.loss.cross_entropy import CrossEntropy
from ocnet_pl.loss.hardest import HardestCrossEntropy
from ocnet_pl.loss.structure import StructureWeights
from ocnet_pl.model.structure import region_centres


def golden() -> dict[str, Tensor]:
    return golden_file("structure_losses")


def parts() -> Mapping[str, Sequence[int]]:
    assert LIP.body_parts is not None
    return LIP.body_parts


def weights_of(name: str, **changes: object) -> StructureWeights:
    """Weights of a config file, at the size of the golden maps."""
    arguments = {"body_parts": parts(), "stride": 1, **changes}
    built = construct(compose(f"model/head={name}", "model/backbone=tiny").loss.image_weights, **arguments)
    assert isinstance(built, StructureWeights)
    return built


CRITERIA: dict[str, nn.Module] = {"attention_ssl": CrossEntropy(), "ss_nan": HardestCrossEntropy()}
PREFIX = {"attention_ssl": "ssl", "ss_nan": "ssnan"}


def loss_of(name: str, **changes: object) -> tuple[Tensor, Tensor]:
    """Loss of the golden logits and its gradient."""
    numbers = golden()
    logits, label = numbers["logits"].requires_grad_(), numbers["label"].long()
    loss = weights_of(name, **changes).weighted(CRITERIA[name], logits, label)(logits, label)
    loss.backward()
    assert logits.grad is not None
    return loss.detach(), logits.grad


def assert_same_gradient(gradient: Tensor, theirs: Tensor, norm: Tensor) -> None:
    assert_gradient(gradient[:, ::3], theirs)
    torch.testing.assert_close(gradient.norm(), norm, rtol=1e-4, atol=0)


@pytest.mark.parametrize("name", CRITERIA)
def test_weights_of_images(name: str) -> None:
    numbers = golden()
    weights = weights_of(name)(numbers["logits"], numbers["label"].long())
    torch.testing.assert_close(weights, numbers[f"{PREFIX[name]}/weight"], rtol=1e-5, atol=1e-6)


def test_the_loss_of_attention_and_ssl() -> None:
    numbers = golden()
    loss, gradient = loss_of("attention_ssl")
    torch.testing.assert_close(loss, numbers["ssl/loss"], rtol=1e-5, atol=0)
    assert_same_gradient(gradient, numbers["ssl/grad_paper"], numbers["ssl/grad_norm_paper"])
    assert not gradient[0].any(), "all joints of the first image are right"


def test_the_released_code_of_attention_and_ssl_weighs_no_gradient() -> None:
    numbers = golden()
    loss, gradient = loss_of("attention_ssl", weigh_gradients=False)
    torch.testing.assert_close(loss, numbers["ssl/loss"], rtol=1e-5, atol=0)
    norm = numbers["ssl/grad_norm_released_gradient"]
    assert_same_gradient(gradient, numbers["ssl/grad_released_gradient"], norm)


def test_the_loss_of_ss_nan() -> None:
    numbers = golden()
    loss, gradient = loss_of("ss_nan")
    torch.testing.assert_close(loss, numbers["ssnan/loss"], rtol=1e-5, atol=0)
    assert_same_gradient(gradient, numbers["ssnan/grad"], numbers["ssnan/grad_norm"])


def test_the_hardest_third() -> None:
    numbers = golden()
    criterion = HardestCrossEntropy()
    pairs = zip(numbers["logits"].split(1), numbers["label"].long().split(1), strict=True)
    theirs = numbers["ssnan/pixel_loss_hardest_third"]
    torch.testing.assert_close(torch.stack([criterion(*pair) for pair in pairs]), theirs, rtol=1e-5, atol=1e-6)
    whole = criterion(numbers["logits"], numbers["label"].long())
    torch.testing.assert_close(whole, theirs.mean(), rtol=1e-5, atol=0)
    assert abs(HardestCrossEntropy(0.34)(numbers["logits"], numbers["label"].long()) - whole) > SEEN * whole


def test_the_hardest_pixels_of_an_unlabelled_image_have_no_loss() -> None:
    logits = torch.randn(2, 3, 5, 7, requires_grad=True)
    loss = HardestCrossEntropy(0.01)(logits, torch.full((2, 5, 7), 255))
    loss.backward()
    assert loss == 0
    assert logits.grad is not None
    assert not logits.grad.any()


# Any change would be seen.


ANY: list[dict[str, object]] = [
    {"factor": 0.03}, {"offset": 0.01}, {"stride": 2}, {"body_parts": {**parts(), "head": (1, 2, 4)}},
]  # fmt: skip
CHANGES = {
    "attention_ssl": [*ANY, {"rule": "nonzero"}, {"average": "images"}],
    "ss_nan": [*ANY, {"rule": "whole"}, {"average": "pixels"}],
}


@pytest.mark.parametrize(("name", "changes"), [(name, changes) for name, all_ in CHANGES.items() for changes in all_])
def test_any_change_would_be_seen(name: str, changes: dict[str, object]) -> None:
    usual = loss_of(name)[0]
    assert abs(loss_of(name, **changes)[0] - usual) > SEEN * usual


def test_left_and_right_parts_are_different_joints() -> None:
    """A prediction with left and right exchanged has wrong joints."""
    label = torch.zeros(1, 17, 17, dtype=torch.long)
    label[:, 2:6, 2:6], label[:, 2:6, 10:14] = 14, 15
    exchanged = label.clone()
    exchanged[label == 14], exchanged[label == 15] = 15, 14
    weights = weights_of("attention_ssl")
    right, wrong = (weights(F.one_hot(one, 20).movedim(-1, 1).float(), label) for one in (label, exchanged))
    assert right == 0
    assert wrong > 0.1
    mirrored = weights(F.one_hot(exchanged, 20).movedim(-1, 1).float().flip(-1), label.flip(-1))
    torch.testing.assert_close(mirrored, wrong)


# In the training step.


def test_joints_are_compared_at_a_stride() -> None:
    """One cell of eight pixels: a prediction that is off by less than a cell has weight 0."""
    seen: list[tuple[int, ...]] = []
    usual = structure.structure_distance

    def spied(prediction: Tensor, label: Tensor, *others: object) -> Tensor:
        seen.append((tuple(prediction.shape), tuple(label.shape)))  # type: ignore[arg-type]
        assert torch.equal(label, whole[:, ::8, ::8])
        return usual(prediction, label, *others)  # type: ignore[arg-type]

    whole = torch.randint(20, (2, 65, 97))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(structure, "structure_distance", spied)
        StructureWeights(parts())(torch.randn(2, 20, 65, 97), whole)
    assert seen == [((2, 9, 13), (2, 9, 13))]


BATCH_SIZE = (33, 49)


def batch(seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(256, (3, 3, *BATCH_SIZE), generator=generator, dtype=torch.uint8)
    label = torch.randint(5, (3, *BATCH_SIZE), generator=generator).to(torch.uint8)
    label[0, :9] = 255
    return {"image": image, "label": label}


TREE = {"one": (1,), "others": (2, 3)}


@pytest.mark.parametrize("share", [True, False])
def test_every_classifier_has_weights_of_its_own_or_of_the_shared_prediction(share: bool) -> None:
    overrides = (
        "model/head=attention_ssl",
        "model/backbone=tiny",
        f"loss.image_weights.share_prediction={share}",
    )
    module = build_bare_module(compose(*overrides, "loss.image_weights.stride=1"), 5, body_parts=TREE).eval()
    data = batch()
    terms = module.terms(data)
    outputs, label = module.network.supervised(data["image"]), data["label"].long()
    for name, logits in {"main": outputs.logits, **outputs.extras}.items():
        full = F.interpolate(logits, BATCH_SIZE, mode="bilinear", align_corners=True)
        weights = module.image_weights(outputs.logits if share else full, label)  # type: ignore[misc]
        losses = F.cross_entropy(full, label, reduction="none", ignore_index=255)
        torch.testing.assert_close(terms[name], (weights[:, None, None] * losses).sum() / (label != 255).sum())
        assert terms[name] > 0


def test_structure_weights_go_with_any_head_and_weigh_its_auxiliary_loss() -> None:
    head = ("model/backbone=tiny", "model/head=ppm", "model.head.out_channels=8", "loss=ssl")
    module = build_bare_module(compose(*head, "loss.image_weights.offset=1"), 5, body_parts=TREE).eval()
    data = batch()
    outputs, label = module.network.supervised(data["image"]), data["label"].long()
    weights = module.image_weights(outputs.logits, label)  # type: ignore[misc]
    assert (weights >= 1).all()
    shares = (label != 255).flatten(1).sum(1) / (label != 255).sum()
    for name, logits, factor in (("main", outputs.logits, 1), ("auxiliary", outputs.auxiliary, 0.4)):
        assert logits is not None
        losses = torch.stack([CrossEntropy()(one[None], two[None]) for one, two in zip(logits, label, strict=True)])
        torch.testing.assert_close(module.terms(data)[name], factor * (weights * shares * losses).sum())


def test_weights_have_no_gradient_and_no_parameters() -> None:
    weights = StructureWeights(parts())
    logits = torch.randn(1, 20, 33, 33, requires_grad=True)
    assert not weights(logits, torch.zeros(1, 33, 33, dtype=torch.long)).requires_grad
    assert not list(weights.parameters())


def test_a_data_set_without_body_parts_is_refused(
    workplace: Path, call: Main, cityscapes_tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    narrow = [option for option in TINY if not option.startswith(("dataset", "model.head.out_channels"))]
    command = (*narrow, "dataset=cityscapes", f"dataset.root={cityscapes_tree}", "dataset.crop_size=[32,64]")
    assert call("train", *command, "model/head=ss_nan") == 2
    (error,) = capsys.readouterr().err.strip().splitlines()
    for words in ("loss.image_weights: ", "body parts", "dataset.body_parts", "'~loss.image_weights'"):
        assert words in error
    with pytest.raises(UserError, match=r"^loss.image_weights: "):
        build_bare_module(compose("loss=ssl", "model/backbone=tiny"), 5)


def test_the_parts_of_lip_are_the_sheets() -> None:
    assert list(parts().values()) == [(1, 2, 4, 13), (5, 7, 11), (9, 12), (14,), (15,), (16,), (17,), (18,), (19,)]
    assert region_centres(torch.full((1, 2, 2), 3), list(parts().values())).isnan().all(), "gloves are in no part"
    factor = compose("model/head=ss_nan", "model/backbone=tiny").loss.image_weights.factor
    assert factor == pytest.approx(0.5 / len(parts()))
