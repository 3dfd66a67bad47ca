import pytest
import torch
from golden_numbers import golden_file
from torch import Tensor, nn

from ocnet_pl.dataset.cityscapes import Cityscapes
from ocnet_pl.loss.cross_entropy import CrossEntropy
from ocnet_pl.loss.ohem import OhemCrossEntropy
from ocnet_pl.model.layers import upsample

GOLDEN = golden_file("losses")
CASES = [name for name in GOLDEN if name.startswith(("ce_", "ohem_")) and "/" not in name]
WEIGHT = torch.tensor(Cityscapes.class_weights)


def losses(case: str) -> tuple[nn.Module, nn.Module]:
    """Main and auxiliary loss that a golden name means."""
    if case.startswith("ce_"):
        plain = CrossEntropy(weight=None if "unweighted" in case else WEIGHT)
        return plain, plain
    ohem = OhemCrossEntropy(0.7, int(case.rsplit("keep", 1)[1]), weight=WEIGHT)
    return ohem, ohem if "both" in case else CrossEntropy(weight=WEIGHT)


@pytest.mark.parametrize("case", CASES)
def test_losses_are_the_authors(case: str) -> None:
    logits = [GOLDEN[name].clone().requires_grad_() for name in ("logits_main", "logits_aux")]
    target = GOLDEN["target"]
    main, auxiliary = (
        loss(upsample(part, target.shape[1:]), target) for loss, part in zip(losses(case), logits, strict=True)
    )
    total = main + 0.4 * auxiliary
    assert total.item() == pytest.approx(GOLDEN[case].item(), abs=1e-5)
    for name, gradient in zip(("main", "aux"), torch.autograd.grad(total, logits), strict=True):
        assert gradient.norm().item() == pytest.approx(GOLDEN[f"{case}/grad_{name}_norm"].item(), rel=1e-4)


def example() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(0, 5, (2, 8, 9), generator=generator)
    label[torch.rand(label.shape, generator=generator) < 0.3] = 255
    return torch.randn(2, 5, 8, 9, generator=generator) * 3, label


@pytest.mark.parametrize("min_kept", [0, 1, 20, 60, 90, 200])
def test_kept_pixels_are_those_of_a_sort(min_kept: int) -> None:
    logits, label = example()
    valid = label != 255
    probability = logits.softmax(1).gather(1, label.where(valid, 0).unsqueeze(1)).squeeze(1)
    ordered = probability[valid].sort().values
    if min_kept >= len(ordered):
        hard = valid
    else:
        hard = valid & (probability <= max(0.7, ordered[min_kept - 1].item() if min_kept else 0.0))
    expected = nn.functional.cross_entropy(logits, label.where(hard, 255), ignore_index=255)
    torch.testing.assert_close(OhemCrossEntropy(0.7, min_kept)(logits, label), expected)


@pytest.mark.parametrize("min_kept", [0, 10, 10_000])
def test_never_nan(min_kept: int) -> None:
    logits, label = example()
    easy = 100 * nn.functional.one_hot(label.where(label != 255, 0), 5).permute(0, 3, 1, 2).float()
    for wrong, target in ((easy, label), (logits, torch.full_like(label, 255))):
        wrong = wrong.clone().requires_grad_()
        loss = OhemCrossEntropy(0.7, min_kept, weight=torch.ones(5))(wrong, target)
        (gradient,) = torch.autograd.grad(loss, wrong)
        assert loss.isfinite()
        assert gradient.isfinite().all()


@pytest.mark.parametrize("weight", [None, WEIGHT[:5], torch.tensor([1.0, 0.0, 2.0, 0.0, 0.5])])
def test_cross_entropy_is_that_of_torch(weight: Tensor | None) -> None:
    logits, label = example()
    expected = nn.functional.cross_entropy(logits, label, weight, ignore_index=255)
    torch.testing.assert_close(CrossEntropy(weight=weight)(logits, label), expected)


@pytest.mark.parametrize(
    ("classes", "weight"),
    [([255], None), ([255], WEIGHT[:5]), ([1], torch.tensor([1.0, 0, 1, 1, 1])), ([1, 3, 255], torch.eye(5)[0])],
)
@pytest.mark.parametrize("loss", [CrossEntropy, OhemCrossEntropy])
def test_pixels_without_weight_give_zero(loss: type[nn.Module], classes: list[int], weight: Tensor | None) -> None:
    logits, label = example()
    logits.requires_grad_()
    label = torch.tensor(classes)[torch.arange(label.numel()).remainder(len(classes))].view_as(label)
    value = loss(weight=weight)(logits, label)
    (gradient,) = torch.autograd.grad(value, logits)
    assert value == 0
    assert not gradient.any()


def test_half_precision_logits_are_lifted() -> None:
    logits, label = example()
    for loss in (OhemCrossEntropy(0.7, 20), CrossEntropy()):
        assert loss(logits.bfloat16(), label).dtype == torch.float32
