"""Heads in training: on fused kernels at the paper's size, and under bf16 autocast."""

import pytest
import torch
from head_configs import ATTENDING, head, keypoints, maps, named_inputs, narrow, tree
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ocnet_pl.build import build_bare_module
from ocnet_pl.config.compose import compose, heads

WITHOUT_NORMS = {"jppnet": ("model.head.initial_std=null",), "refinenet": ("model.head.initial_std=0.04",)}
"""Heads that need a low learning rate, with initial weights for narrow layers."""
WEIGHTED = {"attention_ssl": ("loss.image_weights.offset=1",)}
"""Heads whose losses have weights near 0 where there are few joints, with weights at which they learn."""
FUSED = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION]


@pytest.mark.slow
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ATTENDING)
def test_no_head_stores_the_map(name: str, precision: torch.dtype) -> None:
    """At 769 pixels for the heads of Table 1; which kernel is used does not depend on the size."""
    built = head(name)
    side = 97 if name.endswith("_oc") and precision == torch.bfloat16 else 49
    features, named = maps(built, (side, side)), named_inputs(built, (side, side))
    with sdpa_kernel(FUSED), torch.autocast("cpu", precision, enabled=precision != torch.float32):
        built.train()(*features, **named).mean().backward()
        with torch.no_grad():
            built.eval()(*(one[:1] for one in features), **{name: one[:1] for name, one in named.items()})


@pytest.mark.parametrize("name", heads())
def test_every_parameter_learns_under_bf16_autocast(name: str) -> None:
    overrides = [*narrow(name, 16), *WITHOUT_NORMS.get(name, ()), *WEIGHTED.get(name, ())]
    config = compose(f"model/head={name}", "model/backbone=tiny", *overrides)
    module = build_bare_module(config, 4, class_tree=tree(4), body_parts=tree(4)).train()
    network = module.network
    for part in network.head.modules():
        if isinstance(part, nn.Dropout | nn.Dropout2d):
            part.p = 0.0
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01 if name in WITHOUT_NORMS else 0.05, momentum=0.9)
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(0, 4, (2, 4, 4), generator=generator).repeat_interleave(16, 1).repeat_interleave(16, 2)
    image = (60 * label.unsqueeze(1).repeat(1, 3, 1, 1)).to(torch.uint8)
    reached = {name: False for name, _ in network.named_parameters()}
    batch = {"image": image, "label": label, **keypoints(network.head, (64, 64))}
    losses = []
    for _ in range(12):
        with torch.autocast("cpu", torch.bfloat16):
            loss = sum(module.terms(batch).values())
        optimizer.zero_grad()
        loss.backward()
        for parameter_name, parameter in network.named_parameters():
            assert parameter.grad is not None
            assert parameter.grad.isfinite().all()
            reached[parameter_name] |= bool(parameter.grad.count_nonzero())
        optimizer.step()
        if module.image_weights is not None:  # they change with the prediction, and the loss with them
            loss = module.loss(network(image), label)
        losses.append(loss.item())
    assert min(losses[-3:]) < 0.8 * losses[0]
    assert all(reached.values()), [parameter for parameter, is_reached in reached.items() if not is_reached]


@pytest.mark.parametrize("name", heads())
def test_a_crop_without_labels_gives_every_gradient(name: str) -> None:
    """Another process of DDP waits for it."""
    config = compose(f"model/head={name}", "model/backbone=tiny", *narrow(name, 16))
    module = build_bare_module(config, 5, class_tree=tree(5), body_parts=tree(5)).train()
    label = torch.full((2, 64, 96), 255, dtype=torch.uint8)
    image = torch.randint(256, (2, 3, 64, 96), dtype=torch.uint8)
    terms = module.terms({"image": image, "label": label, **keypoints(module.network.head, (64, 96))})
    assert terms["main"] == 0
    torch.stack(list(terms.values())).sum().backward()
    for parameter_name, parameter in module.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
