"""Parts of a network that `compile=true` compiles, in training and in tests, counted by a backend without code."""

from functools import partial
from typing import Any

import pytest
import torch
from head_configs import keypoints, narrow, tree
from torch import nn

from ocnet_pl.build import build_bare_module
from ocnet_pl.config.compose import compose

LEFT_OUT = {"auxiliary", "classifier"}
"""Parts that run as they are written: single convolutions, and one before the auxiliary classifier."""
KINDS = (
    "pyramid_oc",  # forward alone
    "danet",  # outputs that only training uses
    "ocr",  # reads the auxiliary classifier
    "bisenet",  # reads the image
)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch", "ignore::UserWarning:torch")
@pytest.mark.parametrize("head", KINDS)
def test_backbone_and_head_are_compiled_on_both_paths(head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    graphs: list[Any] = []

    def count(graph: Any, _: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=count))
    tiny = ("model/backbone=tiny", "model.auxiliary_channels=8", *narrow(head, 16))
    config = compose(f"model/head={head}", *tiny, "compile=true")
    module = build_bare_module(config, 5, class_tree=tree(5), body_parts=tree(5))
    written = _run_as_written(module.network, monkeypatch)
    batch = {
        "image": torch.randint(256, (2, 3, 64, 96), dtype=torch.uint8),
        "label": torch.randint(5, (2, 64, 96), dtype=torch.uint8),
        **keypoints(module.network.head, (64, 96)),
    }
    torch._dynamo.reset()
    module.train().terms(batch)
    parts = {name.split(".")[0] for name in written}
    assert parts <= LEFT_OUT
    compiled = len(graphs)
    assert compiled >= 2, "backbone and head"
    with torch.no_grad():
        module.eval().network(batch["image"])
    assert len(graphs) >= compiled + 2
    assert {name.split(".")[0] for name in written} <= LEFT_OUT
    module.train().terms(batch)
    again = len(graphs)
    module.terms(batch)
    if torch.__version__ >= (2, 14):  # torch 2.6 compiles again
        assert len(graphs) == again, "a further step compiles nothing"


def _run_as_written(network: nn.Module, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the convolutions that run outside of a compiled graph, as they run."""
    names = {id(part): name for name, part in network.named_modules()}
    seen: list[str] = []
    usual = nn.Conv2d.forward

    def forward(conv: nn.Conv2d, features: torch.Tensor) -> torch.Tensor:
        if not torch.compiler.is_compiling():
            seen.append(names.get(id(conv), "head"))
        return usual(conv, features)

    monkeypatch.setattr(nn.Conv2d, "forward", forward)
    return seen
