"""MMAN with the weights of the authors' modules gives their outputs, losses and gradients; no side trains the other."""

import pytest
import torch
import torch.nn.functional as F
from changes import Change, exchanged, rolled_inputs, set_to, shifted, weights_of
from golden_case import GoldenCase, GoldenTests, Patch
from golden_numbers import SAME, SEEN, assert_gradient, golden_file, relative_difference
from torch import Tensor, nn

from ocnet_pl.build import build_network
from ocnet_pl.config.compose import compose
from ocnet_pl.loss.cross_entropy import CrossEntropy
from ocnet_pl.model.adversarial import (
    PatchDiscriminator,
    discriminator_loss,
    generator_loss,
    label_maps,
    predicted_maps,
)
from ocnet_pl.model.head import mman
from ocnet_pl.model.head.mman import MMAN


def build() -> MMAN:
    """The generator."""
    head = MMAN((2, 8, 16, 32, 64), 4, discriminator_channels=1)
    for name in ("micro", "macro"):
        head.set_submodule(name, nn.Identity())
    return head


def outputs(head: MMAN, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    logits, extras = head.supervised(*inputs.values(), image=torch.zeros(2, 3, 32, 32))
    found = {"": logits, "thumb_": extras["thumbnail"]}
    label = torch.zeros(2, 1, 1, dtype=torch.long)
    return {f"{name}logprob": one.log_softmax(1) for name, one in found.items()} | {
        f"{name}sharpened": predicted_maps(one, label, head.sharpness) for name, one in found.items()
    }


def nested(depth: int) -> str:
    """The authors' name of a block of the U-Net, counted from the outermost, U4."""
    return ".".join(f"U{number}.1" for number in range(4, depth, -1))


THUMBNAIL = f"{nested(-1)}.U_1.0.U_2.0"
NAMES = {f"{THUMBNAIL}.conv2d_list": "thumbnail.branches", f"{THUMBNAIL}.conv1_1": "thumbnail.fuse"}
for number, mine in enumerate(("last_rise", "rises.2", "rises.1", "rises.0", "classifier")):
    NAMES[f"{nested(number)}.U{number}.3".removeprefix(".")] = f"{mine}.convolution"
for number in range(4):
    NAMES[f"{nested(number)}.con{number}"] = f"skips.{3 - number}"
RISES = ("last_rise", "rises.0", "rises.1", "rises.2")


def without_norm(name: str) -> Change:
    return set_to("norm", False, name)


def without_activation(name: str) -> Change:
    def change(head: nn.Module) -> None:
        part = head.get_submodule(name)
        norm = F.instance_norm if part.norm else lambda features: features
        part.forward = lambda features: norm(part.convolution(features))  # type: ignore[method-assign, operator]

    return change


def of_the_other_order(head: MMAN, index: int, skip: Tensor, features: Tensor) -> Tensor:
    return torch.cat([mman.fitted(features, skip), head.skips[index](skip)], 1)


class TestMMAN(GoldenTests):
    case = GoldenCase(
        "mman",
        build,
        outputs,
        NAMES,
        same_in_training=True,
        weight_gradients=2,
        changes={
            **{f"no norm in {name}": without_norm(name) for name in RISES},
            **{f"no activation in {name}": without_activation(name) for name in (*RISES, "classifier")},
            "sharpness": set_to("sharpness", 4.0),
            "inputs of the thumbnail's fusion": rolled_inputs("thumbnail.fuse.weight", 4),
            "branches of the thumbnail": exchanged("thumbnail.branches.1", "thumbnail.branches.2"),
            "skip before rise": Patch(MMAN, "_joined", of_the_other_order),
        },
        # Biases before an instance norm, which removes them.
        unseen=[f"{name}.convolution.bias" for name in RISES],
    )
    test_a_missing_layer_would_be_seen = None  # its norms and activations are functions, which `changes` leave out


# The discriminator and its losses.

DISC = golden_file("mman_discriminator", "disc/")


def discriminator() -> PatchDiscriminator:
    built = PatchDiscriminator(4, 4)
    built.layers.load_state_dict(
        {n.removeprefix("param/model."): t for n, t in DISC.items() if n.startswith("param/model.")}
    )
    return built


def adversarial_losses(built: nn.Module) -> list[Tensor]:
    """Scores of predicted and true maps, and both losses."""
    image, fake, true = DISC["image"], DISC["fake"], label_maps(DISC["label"], 4)
    losses = [loss(built, image, fake, true) for loss in (discriminator_loss, generator_loss)]
    return [built(image, fake), built(image, true), *losses]


THEIRS = [DISC[name] for name in ("pred_fake", "pred_real", "loss_D", "loss_G")]


def distance(built: nn.Module) -> float:
    with torch.no_grad():
        found = adversarial_losses(built)
    return max(relative_difference(mine, its) for mine, its in zip(found, THEIRS, strict=True))


def test_scores_and_losses() -> None:
    assert distance(discriminator()) <= SAME


def test_the_gradient_that_reaches_the_generator() -> None:
    fake = DISC["fake"].clone().requires_grad_()
    built = discriminator()
    generator_loss(built, DISC["image"], fake, label_maps(DISC["label"], 4)).backward()
    assert_gradient(fake.grad, DISC["grad_fake"])
    assert all(parameter.grad is None for parameter in built.parameters()), "its weights are constants"


def test_the_discriminators_loss_moves_it_alone() -> None:
    fake = DISC["fake"].clone().requires_grad_()
    built = discriminator()
    discriminator_loss(built, DISC["image"], fake, label_maps(DISC["label"], 4)).backward()
    assert fake.grad is None
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in built.parameters())


@pytest.mark.parametrize("name", weights_of(discriminator()))
def test_every_weight_of_the_discriminator_would_be_seen(name: str) -> None:
    built = discriminator()
    shifted(name)(built)
    assert distance(built) > SEEN


@pytest.mark.parametrize("layer", [1, 3, 4, 6, 7])
def test_a_missing_layer_of_the_discriminator_would_be_seen(layer: int) -> None:
    built = discriminator()
    built.layers[layer] = nn.Identity()
    assert distance(built) > SEEN


def test_the_sizes_of_scores() -> None:
    built = PatchDiscriminator(4, 4)
    for size, expected in ((256, 62), (16, 2)):
        assert built(torch.zeros(1, 3, size, size), torch.zeros(1, 4, size, size)).shape == (1, 1, expected, expected)
    for size in (1, 5, 11, 12):
        assert built(torch.zeros(1, 3, size, 9), torch.zeros(1, 4, size, 9)).shape == (1, 1, 1, 1)


# Beyond the golden numbers.


def head(**options: float | bool) -> MMAN:
    torch.manual_seed(0)
    return MMAN((4, 6, 8, 10, 12), 3, discriminator_channels=4, **options).train()  # type: ignore[arg-type]


def stages(size: int = 33, batch: int = 2) -> tuple[list[Tensor], Tensor]:
    generator = torch.Generator().manual_seed(1)
    sides = [-(-size // stride) for stride in (2, 4, 8, 16, 16)]
    maps = [
        torch.randn(batch, c, side, side, generator=generator) for c, side in zip((4, 6, 8, 10, 12), sides, strict=True)
    ]
    return maps, torch.randn(batch, 3, size, size, generator=generator)


def labels(size: int = 33, batch: int = 2) -> Tensor:
    label = torch.randint(3, (batch, size, size), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)
    label[:, :5] = 255
    return label


TERMS = {"thumbnail", "micro", "macro", "micro_discriminator", "macro_discriminator"}


def terms_of(built: MMAN, label: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    maps, image = stages()
    logits, extras = built.supervised(*maps, image=image)
    return logits, built.losses(extras, {"label": label}, CrossEntropy())


def test_each_side_learns_from_its_own_terms() -> None:
    built = head()
    for name in sorted(TERMS):
        built.zero_grad()
        _, terms = terms_of(built, labels())
        assert terms.keys() == TERMS
        terms[name].backward()
        moved = {n for n, p in built.named_parameters() if p.grad is not None and p.grad.any()}
        of_discriminators = {n for n in moved if n.startswith(("micro.", "macro."))}
        if name.endswith("_discriminator"):
            assert (
                moved == of_discriminators == {n for n, _ in built.named_parameters() if n.startswith(name[:5] + ".")}
            )
        else:
            assert moved
            assert not of_discriminators
        assert any(n.startswith("classifier.") for n in moved) is (name == "micro")
        assert any(n.startswith("thumbnail.") for n in moved) is (name in ("thumbnail", "macro"))


def test_in_the_released_code_the_macro_discriminator_does_not_train_the_generator() -> None:
    paper, released = (terms_of(head(macro_trains_generator=on), labels())[1] for on in (True, False))
    assert released["macro"] == paper["macro"]
    assert paper["macro"].requires_grad
    assert not released["macro"].requires_grad


def test_weights_of_the_terms() -> None:
    usual = terms_of(head(thumbnail_weight=1, adversarial_weight=1, discriminator_weight=1), labels())[1]
    other = terms_of(head(), labels())[1]
    factors = {name: float((other[name] / usual[name]).detach()) for name in TERMS}
    expected = {"thumbnail": 0.2, "micro": 0.004, "macro": 0.004}
    assert factors == pytest.approx({**{f"{name}_discriminator": 0.01 for name in ("micro", "macro")}, **expected})


def test_the_thumbnail_reads_labels_of_its_own_size() -> None:
    label = torch.randint(3, (2, 33, 33))
    maps, image = stages()
    built = head(thumbnail_weight=1)
    _, extras = built.supervised(*maps, image=image)
    expected = F.cross_entropy(extras["thumbnail"], label[:, ::16, ::16])
    torch.testing.assert_close(built.losses(extras, {"label": label}, CrossEntropy())["thumbnail"], expected)


def test_discriminators_are_trained_in_a_share_of_the_steps() -> None:
    built, trained = head(discriminator_probability=0.25), []
    torch.manual_seed(3)
    for _ in range(200):
        terms = terms_of(built, labels())[1]
        assert (terms["micro_discriminator"] == 0) == (terms["macro_discriminator"] == 0)
        trained.append(bool(terms["micro_discriminator"] > 0))
    assert 30 <= sum(trained) <= 70


def test_pixels_without_a_class_do_not_count() -> None:
    label = labels()
    logits = torch.randn(2, 3, 33, 33)
    maps = predicted_maps(logits, label, 5.0), label_maps(label, 3)
    assert not any(one[:, :, :5].any() for one in maps)
    torch.testing.assert_close(maps[0][:, :, 5:], (5 * logits).softmax(1)[:, :, 5:])
    assert torch.equal(maps[1][:, :, 5:].argmax(1), label[:, 5:].long())
    built = discriminator()
    half = DISC["label"].clone()
    half[1] = 255
    one, both = (
        generator_loss(built, DISC["image"][:end], DISC["fake"][:end], label_maps(half[:end], 4)) for end in (1, 2)
    )
    torch.testing.assert_close(one, both)


def test_a_batch_without_labels_gives_every_gradient() -> None:
    built = head()
    logits, terms = terms_of(built, torch.full((2, 33, 33), 255, dtype=torch.uint8))
    (torch.stack(list(terms.values())).sum() + 0 * logits.sum()).backward()
    assert all(term.item() == 0 for term in terms.values())
    assert all(p.grad is not None and not p.grad.any() for p in built.parameters())


@pytest.mark.parametrize("size", [(64, 96), (65, 97), (57, 70), (16, 16), (9, 40)])
def test_images_of_any_size(size: tuple[int, int]) -> None:
    network = build_network(compose("model/head=mman", "model/backbone=tiny"), 5, auxiliary=False).eval()
    with torch.no_grad():
        assert network.map_logits(torch.zeros(1, 3, *size)).shape == (1, 5, *size)


def test_parameters() -> None:
    config = compose("model/head=mman", "model/backbone=resnet101", "model.backbone.pretrained=false")
    built = build_network(config, 19, auxiliary=False).head
    assert sum(p.numel() for p in built.parameters()) == 44248344
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in built.named_children()}
    assert counts["micro"] == counts["macro"] == 16 * 64 * 22 + 64 + 16 * 64 * 128 + 16 * 128 * 256 + 16 * 256 + 1
    assert counts["thumbnail"] == 2048 * 19 * (1 + 3 * 9) + 4 * 19 + 76 * 19 + 19
    assert counts["last_rise"] == 9 * 2048 * 1024 + 1024
    rises = 16 * (2048 * 512 + 1024 * 256 + 512 * 64) + 512 + 256 + 64
    assert counts["rises"] == rises
    assert counts["classifier"] == 16 * 128 * 19 + 19
