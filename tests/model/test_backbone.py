"""Backbones whose weights cannot be had."""

import logging
from typing import Any

import pytest
import timm

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
