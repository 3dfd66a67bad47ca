"""Heatmaps, joints of label maps and edges, against golden numbers (tests/golden/README.md)."""

import math

import pytest
import torch
from golden_numbers import golden_file
from torch import Tensor

from ocnet_pl.dataset.lip import LIP
from ocnet_pl.model.edges import neighbour_edges
from ocnet_pl.model.heatmaps import aligned_cells, centred_cells, gaussian_maps, with_background
from ocnet_pl.model.structure import PEAK, region_centres, structure_distance

MULA = golden_file("mula_pose_target")
STRUCTURE = golden_file("structure_losses")
BODY = list((LIP.body_parts or {}).values())
SSL_JOINTS = {"label": STRUCTURE["label"], "prediction": STRUCTURE["logits"].argmax(1)}


def mula_target(sigma: float = 7, least: float = 0.01, stride: float = 4) -> Tensor:
    points = MULA["joints_xy"].masked_fill(~MULA["visible"][:, None], torch.nan).unsqueeze(0)
    return with_background(gaussian_maps(points, *centred_cells((20, 16), stride), sigma, least=least))[0]


def test_heatmaps_are_those_of_mula() -> None:
    theirs = MULA["target_stride4_sigma7"]
    torch.testing.assert_close(mula_target(), theirs, rtol=0, atol=1e-5)
    assert not theirs[1].any(), "the missing joint"
    for other in (mula_target(sigma=7.1), mula_target(least=0), mula_target(stride=4.1)):
        assert (other - theirs).abs().max() > 1e-3


def test_a_heatmap_follows_its_point() -> None:
    """The peak lies on the point, and a mirrored point has the mirrored map; a third number does not count."""
    size, image = (13, 17), (97, 129)
    rows, columns = aligned_cells(size, image)
    assert rows.tolist() == [8.0 * row for row in range(13)]
    points = torch.tensor([[[40.0, 24.0, 1.0], [torch.nan, torch.nan, 0.0]]])
    maps = gaussian_maps(points, rows, columns, sigma=8)
    assert maps.shape == (1, 2, *size)
    assert maps[0, 0, 3, 5] == 1
    assert maps[0, 0, 3, 6].item() == pytest.approx(math.exp(-0.5))
    assert not maps[0, 1].any()
    mirrored = torch.tensor([[[128 - 40.0, 24.0], [torch.nan, torch.nan]]])
    torch.testing.assert_close(gaussian_maps(mirrored, rows, columns, sigma=8), maps.flip(-1))
    assert gaussian_maps(points.bfloat16(), rows, columns, sigma=8).dtype == torch.float32


@pytest.mark.parametrize("which", SSL_JOINTS)
def test_joints_are_those_of_attention_and_ssl(which: str) -> None:
    ours, theirs = region_centres(SSL_JOINTS[which], BODY), STRUCTURE[f"ssl/joints_{which}_xy"]
    absent = (theirs == 0).all(-1)
    assert torch.equal(ours.nan_to_num(0).long(), theirs)
    assert torch.equal(ours.isnan().all(-1), absent)
    assert which == "prediction" or absent.any()


def test_maps_and_weights_are_those_of_attention_and_ssl() -> None:
    rows, columns = torch.arange(20), torch.arange(16)
    maps = gaussian_maps(region_centres(STRUCTURE["label"], BODY), rows, columns, 1.0, peak=PEAK)
    torch.testing.assert_close(maps[0], STRUCTURE["ssl/map_label_image0"], rtol=0, atol=1e-5)
    weight = 0.05 * 0.5 * structure_distance(SSL_JOINTS["prediction"], STRUCTURE["label"], BODY)
    torch.testing.assert_close(weight, STRUCTURE["ssl/weight"], rtol=1e-5, atol=1e-6)


def test_centres_and_weights_are_those_of_ss_nan() -> None:
    for which, label in SSL_JOINTS.items():
        ours = region_centres(label, BODY, rule="nonzero").flip(-1).nan_to_num(0)
        torch.testing.assert_close(ours, STRUCTURE[f"ssnan/centres_{which}_yx"], rtol=1e-5, atol=1e-5)
    weight = 0.5 / len(BODY) * structure_distance(SSL_JOINTS["prediction"], STRUCTURE["label"], BODY, rule="nonzero")
    torch.testing.assert_close(weight, STRUCTURE["ssnan/weight"], rtol=1e-4, atol=1e-5)


def test_every_class_has_the_region_of_the_sheet() -> None:
    names = "hat hair sunglasses face, upper-clothes coat scarf, pants skirt, left-arm, right-arm, left-leg, right-leg"
    expected = [part.split() for part in f"{names}, left-shoe, right-shoe".split(",")]
    found: list[list[str]] = [[] for _ in expected]
    for class_id, name in enumerate(LIP.classes):
        present = region_centres(torch.full((1, 4, 4), class_id), BODY)[0, :, 0].isfinite()
        for region in present.nonzero().flatten().tolist():
            found[region].append(name.lower())
    assert found == expected


def test_joints_of_special_labels() -> None:
    label = torch.full((2, 4, 5), 255, dtype=torch.uint8)
    label[1, 0, 0] = 2  # a head of one pixel in the corner
    label[1, 3, 2:4] = 9
    whole, nonzero = (region_centres(label, BODY, rule=rule) for rule in ("whole", "nonzero"))
    assert whole[0].isnan().all()
    assert nonzero[0].isnan().all()
    assert whole[1, 0].tolist() == [0, 0]
    assert nonzero[1, 0].isnan().all()
    assert whole[1, 2].tolist() == [2, 3]
    assert nonzero[1, 2].tolist() == [2.5, 3]
    assert structure_distance(label, label, BODY).tolist() == [0, 0]
    assert torch.equal(region_centres(label.long(), BODY).nan_to_num(9), whole.nan_to_num(9))


def test_labels_without_edges() -> None:
    label = torch.full((1, 6, 7), 3, dtype=torch.uint8)
    label[:, :, 4:] = 255
    assert not neighbour_edges(label).any()
