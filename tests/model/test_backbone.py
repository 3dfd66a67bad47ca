"""Backbones whose weights cannot be had, and norms with an activation inside."""

import logging
from typing import Any

import pytest
import timm
import torch
from torch import nn

from ocnet_pl.errors import UserError
from ocnet_pl.model.backbone import create_backbone


def test_retries_of_a_download_are_not_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def offline(*_: Any, **__: Any) -> None:
        logging.getLogger("huggingface_hub.utils._http").warning("Retrying in 1s [Retry 1/5].")
        raise OSError("no connection")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(UserError, match=r"cannot be loaded \(no connection\)"):
        create_backbone("resnet18", pretrained=True)
    assert not caplog.records


@torch.no_grad()
def test_a_conversion_to_synchronised_norms_keeps_every_activation() -> None:
    torch.manual_seed(0)
    theirs = timm.create_model("test_efficientnet", features_only=True, output_stride=8, out_indices=(-2, -1)).eval()
    torch.manual_seed(0)
    ours = create_backbone("test_efficientnet").eval()
    image = torch.randn(2, 3, 64, 96)
    expected = theirs(image)
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(ours).eval()
    assert any(isinstance(part, nn.SyncBatchNorm) for part in converted.modules())
    for own, before in zip(converted(image), expected, strict=True):
        torch.testing.assert_close(own, before)
