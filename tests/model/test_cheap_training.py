"""What makes training cheap changes its speed and memory, and nothing else."""

import shutil
from functools import partial

import pytest
import torch
from head_configs import keypoints, narrow, tree
from torch import Tensor, nn

from ocnet_pl.build import build_bare_module, build_network
from ocnet_pl.config.compose import compose

TINY = ("model/backbone=tiny", "model.head.out_channels=16", "model.auxiliary_channels=16")


def step(
    *overrides: str, autocast: bool = False, double: bool = False
) -> tuple[float, dict[str, Tensor], dict[str, Tensor]]:
    """Loss, gradients and weights with statistics after one training step from the same start."""
    (name,) = [o.removeprefix("model/head=") for o in overrides if o.startswith("model/head=")] or ["base_oc"]
    options = [o for o in TINY if not o.startswith("model.head.out_channels") or narrow(name, 16)]
    module = build_bare_module(compose(*options, *overrides), 5, class_tree=tree(5), body_parts=tree(5)).train()
    network = module.double().network if double else module.network
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (3, 3, 64, 96), generator=generator, dtype=torch.uint8)
    label = torch.randint(0, 5, (3, 64, 96), generator=generator)
    batch = {"image": image, "label": label, **keypoints(network.head, (64, 96), 3)}
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    torch.manual_seed(1)  # of dropout
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        loss = torch.stack(list(module.terms(batch).values())).sum()
    loss.backward()
    gradients = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
    optimizer.step()
    return loss.item(), gradients, {name: value.clone() for name, value in network.state_dict().items()}


@pytest.mark.parametrize("head", ["base_oc", "asp_oc", "ss_nan"])
def test_gradient_checkpointing_changes_no_bit(head: str) -> None:
    plain = step(f"model/head={head}")
    saving = step(f"model/head={head}", "model.backbone.grad_checkpointing=true")
    assert saving[0] == plain[0]
    torch.testing.assert_close(saving[1], plain[1], rtol=0, atol=0)
    torch.testing.assert_close(saving[2], plain[2], rtol=0, atol=0)  # running statistics moved once, too


def test_gradient_checkpointing_really_recomputes() -> None:
    def runs_of_a_convolution(*overrides: str) -> int:
        network = build_network(compose(*TINY, *overrides), num_classes=5).train()
        seen: list[int] = []
        layer = next(
            m for name, m in network.backbone.named_modules() if name.startswith("layer2") and not [*m.children()]
        )
        layer.register_forward_hook(lambda *_: seen.append(1))
        network(torch.zeros(2, 3, 64, 64)).sum().backward()
        return len(seen)

    assert (runs_of_a_convolution(), runs_of_a_convolution("model.backbone.grad_checkpointing=true")) == (1, 2)


def test_channels_last_is_the_same_network() -> None:
    plain, last = step(), step("channels_last=true")
    assert last[0] == pytest.approx(plain[0], rel=1e-5)
    torch.testing.assert_close(last[1], plain[1], rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(last[2], plain[2], rtol=1e-3, atol=1e-5)


OVERRIDES = {
    "ce2p_asp_oc": ["model.head.context.zero_init=false", "model.head.context.out_channels=16"],
    "encnet": ["model.head.dropout=0"],
    "ss_nan": ["model.head.dropout=0"],
}
"""Compiled code draws the dropout of single values from another generator; that of channels from the same. Where W is
zero, a norm's output in ASP-OC is zero up to rounding, and rounding decides the slope of the activation after it."""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler for the CPU")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch", "ignore::UserWarning:torch")
@pytest.mark.parametrize(
    ("head", "backend"),
    [
        *((head, "inductor") for head in ("base_oc", "danet")),  # code for each kind of path
        *((head, "aot_eager") for head in ("bisenet", "encnet", "ocr", "sac", "ss_nan")),  # graphs alone: in seconds
    ],
)
def test_compile_is_the_same_network(head: str, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    overrides = [f"model/head={head}", *OVERRIDES.get(head, [])]
    # Double precision: batch norm over the few values of pooled maps amplifies rounding.
    plain, compiled = (step(*overrides, f"compile={on}", double=True) for on in ("false", "true"))
    assert compiled[1].keys() == plain[1].keys(), "names of the weights stay"
    assert compiled[0] == pytest.approx(plain[0], rel=1e-5)
    torch.testing.assert_close(compiled[1], plain[1], rtol=1e-3, atol=1e-5)


def test_bf16_is_the_same_to_its_own_precision() -> None:
    plain, half = step(), step(autocast=True)
    assert half[0] == pytest.approx(plain[0], rel=2e-2)
    for name, gradient in plain[1].items():
        if gradient.norm() > 1e-4:
            similarity = nn.functional.cosine_similarity(gradient.flatten(), half[1][name].flatten(), dim=0)
            assert similarity > 0.9, name
