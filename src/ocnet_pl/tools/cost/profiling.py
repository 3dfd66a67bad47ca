"""What the heads cost: each built from its config, run as in testing and as in training, and measured."""

import platform
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor, nn

from ocnet_pl.build import build_network
from ocnet_pl.config.compose import compose, options
from ocnet_pl.tools.cost.measuring import lone_norms, map_large_blocks, measure, multiply_adds, on_shapes
from ocnet_pl.record.costs import EXPLICIT, MAPLESS, Cost
from ocnet_pl.model.attention import explicit_attention, mapless_attention
from ocnet_pl.model.object_context_pooling import ObjectContextPooling
from ocnet_pl.model.network import OCNet
from ocnet_pl.run.provenance import device_name

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Setting:
    """What the heads of one profile have in common.

    Attributes:
        size: of the images, (height, width) in pixels.
        batch: images at once.
        device: where they run.
        backbone: an option of `conf/model/backbone`, or a timm name.
        precision: "32", or "bf16" for autocast as in `trainer.precision=bf16-mixed`.
        classes: of the data set.
        repeats: runs of which the fastest counts.
        explicit_attention: measure the textbook form of attention beside that which networks use.
        head_only: the head alone, on random features of the backbone's shape.
    """

    size: tuple[int, int]
    batch: int
    device: torch.device
    backbone: str = "resnet101s"
    precision: str = "32"
    classes: int = 19
    repeats: int = 3
    explicit_attention: bool = False
    head_only: bool = False

    @property
    def conditions(self) -> str:
        """In one line, as reports print it."""
        machine = device_name(self.device)
        if self.device.type == "cpu":
            machine += f" ({_processor()})"
        else:
            machine += f", {torch.get_num_threads()} threads"
        what = f"heads alone on features of {self.backbone}" if self.head_only else self.backbone
        height, width = self.size
        return (
            f"{machine}, torch {torch.__version__}, {what}, {height}x{width}, batch {self.batch}, "
            f"precision {self.precision}, fastest of {self.repeats}"
        )

    @property
    def notes(self) -> list[str]:
        """What the numbers are, in lines."""
        lines = [
            "GMACs: multiply-adds of convolutions and matrix products in one forward pass, attention by the textbook."
        ]
        if self.device.type == "cuda":
            lines.append("Memory: the peak allocated on the GPU, weights included, in training momentum too.")
        else:
            lines.append("Memory: the peak beyond what the process held before; weights, momentum and batch are extra.")
        if self.explicit_attention:
            lines.append(
                "Attention: mapless as networks compute it, explicit as textbooks do, with the N x N map in memory."
            )
        if not self.head_only:
            lines.append("Parameters and training step include the auxiliary classifier; the forward pass has none.")
        if self.batch == 1:
            lines.append(
                "Batch 1: batch norm after global pooling sees one value a channel and cannot train on it; "
                "that norm alone runs in evaluation mode in the training step."
            )
        return lines


@dataclass(frozen=True)
class _Workload:
    """What is measured: a module, its input, and its loss as in training (forward pass and criterion)."""

    module: nn.Module
    inputs: Tensor
    loss: Callable[[], Tensor]


def head_configs(heads: Sequence[str], backbone: str, overrides: Sequence[str] = ()) -> dict[str, DictConfig]:
    """The config of every head's network, never with pretrained weights.

    Args:
        overrides: of the training config, for example `experiment=demo`.

    Raises:
        UserError: no such head, or an override that cannot be.
    """
    known = backbone in options("model/backbone")
    configs = {}
    for head in heads:
        config = compose(f"model/head={head}", *([f"model/backbone={backbone}"] if known else []), *overrides)
        config.model.backbone.pretrained = False
        config.model.backbone.weights = None
        if not known:
            config.model.backbone.model_name = backbone
        configs[head] = config
    return configs


def profile_head(
    head: str, config: DictConfig, setting: Setting, announce: Callable[[str], None] = lambda _: None
) -> Iterator[Cost]:
    """Measures one head; under both forms of attention when the setting says so and the head has attention.

    Args:
        announce: told what is measured next.

    Raises:
        UserError: a backbone that cannot be built.
    """
    map_large_blocks()
    network = build_network(config, setting.classes).to(setting.device)
    workload = (_head_workload if setting.head_only else _network_workload)(network, config, setting)
    module = workload.module
    del network  # of which a head alone is only a part
    optimizer = instantiate(config.schedule.optimizer)(module.parameters())
    frozen = [module.get_submodule(name) for name in lone_norms(module, workload.inputs)]
    poolings = [part for part in module.modules() if isinstance(part, ObjectContextPooling)]
    autocast = torch.autocast(setting.device.type, torch.bfloat16, enabled=setting.precision == "bf16")

    def forward() -> None:
        with torch.inference_mode(), autocast:
            module(workload.inputs)

    def train_step() -> None:
        with autocast:
            loss = workload.loss()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        workload.inputs.grad = None

    forms = {MAPLESS if poolings else "": mapless_attention}
    if poolings and setting.explicit_attention:
        forms[EXPLICIT] = explicit_attention
    for attention, attend in forms.items():
        label = f"{head}, {attention} attention" if setting.explicit_attention and attention else head
        for pooling in poolings:
            pooling.attend = attend
        optimizer.state.clear()  # a forward pass holds no momentum
        announce(f"{label}: forward")
        module.eval()
        tested = measure(forward, setting.device, setting.repeats)
        announce(f"{label}: training step")
        module.train()
        for norm in frozen:
            norm.eval()
        trained = measure(train_step, setting.device, setting.repeats)
        yield Cost(
            head=head,
            attention=attention,
            parameters=sum(p.numel() for p in module.parameters()),
            multiply_adds=multiply_adds(module, workload.inputs),
            forward_ms=_scaled(tested.seconds, 1e3),
            train_step_ms=_scaled(trained.seconds, 1e3),
            forward_mb=_scaled(tested.peak, 1e-6),
            train_step_mb=_scaled(trained.peak, 1e-6),
            conditions=setting.conditions,
        )


def profile_attention(
    setting: Setting, announce: Callable[[str], None] = lambda _: None, key_channels: int = 256
) -> Iterator[Cost]:
    """Measures object context pooling without its transforms, mapless and by the textbook, forward and backward.

    Query, key and value are random, one position for every 8x8 pixels of the setting's size: values as wide as the
    key (Base-OC), and twice as wide (Pyramid-OC, ASP-OC).
    """
    map_large_blocks()
    positions = -(-setting.size[0] // 8) * -(-setting.size[1] // 8)
    dtype = torch.bfloat16 if setting.precision == "bf16" else torch.float32
    for value_channels in (key_channels, 2 * key_channels):
        channels = key_channels, key_channels, value_channels
        inputs = [
            torch.randn(setting.batch, positions, c, device=setting.device, dtype=dtype, requires_grad=True)
            for c in channels
        ]
        gradient = torch.randn_like(inputs[-1])
        name = f"key {key_channels}, value {value_channels}"
        for attention, attend in ((MAPLESS, mapless_attention), (EXPLICIT, explicit_attention)):

            def forward(attend: Attend = attend, inputs: list[Tensor] = inputs) -> None:
                with torch.inference_mode():
                    attend(*inputs)

            def backward(attend: Attend = attend, inputs: list[Tensor] = inputs, gradient: Tensor = gradient) -> None:
                attend(*inputs).backward(gradient)
                for one in inputs:
                    one.grad = None

            announce(f"{name}, {attention}")
            tested = measure(forward, setting.device, setting.repeats)
            trained = measure(backward, setting.device, setting.repeats)
            yield Cost(
                head=name,
                attention=attention,
                parameters=0,
                multiply_adds=setting.batch * positions**2 * (key_channels + value_channels),
                forward_ms=_scaled(tested.seconds, 1e3),
                train_step_ms=_scaled(trained.seconds, 1e3),
                forward_mb=_scaled(tested.peak, 1e-6),
                train_step_mb=_scaled(trained.peak, 1e-6),
                conditions=f"attention alone on {positions} positions, {setting.conditions}",
            )


def _network_workload(network: OCNet, config: DictConfig, setting: Setting) -> _Workload:
    """Image (B, 3, H, W) of bytes, and the loss of `SegmentationModule.training_step`."""
    image = torch.randint(256, (setting.batch, 3, *setting.size), dtype=torch.uint8, device=setting.device)
    label = torch.randint(setting.classes, (setting.batch, *setting.size), dtype=torch.uint8, device=setting.device)
    main, auxiliary = instantiate(config.loss.main), instantiate(config.loss.auxiliary)
    weight = config.loss.auxiliary_weight

    def loss() -> Tensor:
        truth = label.long()
        logits, auxiliary_logits = network.forward_with_auxiliary(image)
        total: Tensor = main(logits, truth) + weight * auxiliary(auxiliary_logits, truth)
        return total

    return _Workload(network, image, loss)


def _head_workload(network: OCNet, config: DictConfig, setting: Setting) -> _Workload:
    """Random features (B, C, h, w) that want a gradient, as the backbone would; the loss is the output's mean."""
    image = torch.empty(setting.batch, 3, *setting.size, device="meta")
    shape = on_shapes(network.backbone)(image)[-1].shape
    features = torch.randn(shape, device=setting.device, requires_grad=True)
    head = network.head
    return _Workload(head, features, lambda: head(features).mean())


def _processor() -> str:
    """Its name, where the system tells it."""
    path = Path("/proc/cpuinfo")
    match = re.search(r"^model name\s*:\s*(.+)$", path.read_text(), re.MULTILINE) if path.is_file() else None
    return match[1] if match else platform.processor() or "unnamed processor"


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else round(value * factor, 3)
