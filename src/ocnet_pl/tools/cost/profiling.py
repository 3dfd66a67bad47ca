"""What the heads cost: each built from its config, run as in testing and as in training, and measured."""

import platform
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from omegaconf import DictConfig

from ocnet_pl.build import build_bare_module
from ocnet_pl.config.compose import compose
from ocnet_pl.config.search_path import options
from ocnet_pl.model.attention import textbook_attention
from ocnet_pl.record.costs import EXPLICIT, MAPLESS, Cost
from ocnet_pl.run.provenance import device_name
from ocnet_pl.tools.cost.measuring import calls_attention, lone_norms, map_large_blocks, measure, multiply_adds


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
    """

    size: tuple[int, int]
    batch: int
    device: torch.device
    backbone: str = "resnet101s"
    precision: str = "32"
    classes: int = 19
    repeats: int = 3
    explicit_attention: bool = False

    @property
    def conditions(self) -> str:
        """In one line, as reports print it."""
        machine = device_name(self.device)
        if self.device.type == "cpu":
            machine += f" ({_processor()})"
        else:
            machine += f", {torch.get_num_threads()} threads"
        height, width = self.size
        return (
            f"{machine}, torch {torch.__version__}, {self.backbone}, {height}x{width}, batch {self.batch}, "
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
        lines.append("Parameters and training step include the auxiliary classifier; the forward pass has none.")
        if self.batch == 1:
            lines.append(
                "Batch 1: batch norm after global pooling sees one value a channel and cannot train on it; "
                "that norm alone runs in evaluation mode in the training step."
            )
        return lines


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
    """Measure the network of one head; under both forms of attention if the setting says so and it has attention.

    Args:
        head: name of the head.
        config: its config.
        setting: what all heads have in common.
        announce: called with what is measured next.

    Raises:
        UserError: a backbone that cannot be built.
    """
    map_large_blocks()
    module = build_bare_module(config, setting.classes).to(setting.device)
    network = module.network
    image = torch.randint(256, (setting.batch, 3, *setting.size), dtype=torch.uint8, device=setting.device)
    label = torch.randint(setting.classes, (setting.batch, *setting.size), dtype=torch.uint8, device=setting.device)
    batch = {"image": image, "label": label, "index": torch.arange(setting.batch, device=setting.device)}
    optimizer = module.make_optimizer(network.parameter_groups())
    frozen = [network.get_submodule(name) for name in lone_norms(network, image)]
    autocast = torch.autocast(setting.device.type, torch.bfloat16, enabled=setting.precision == "bf16")

    def forward() -> None:
        with torch.inference_mode(), autocast:
            network(image)

    def train_step() -> None:
        with autocast:
            loss = torch.stack(list(module.terms(batch).values())).sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    attends = calls_attention(network, image)
    forms: dict[str, AbstractContextManager[None]] = {MAPLESS if attends else "": nullcontext()}
    if attends and setting.explicit_attention:
        forms[EXPLICIT] = textbook_attention()
    for attention, form in forms.items():
        label_of_form = f"{head}, {attention} attention" if setting.explicit_attention and attention else head
        with form:
            optimizer.state.clear()  # a forward pass holds no momentum
            announce(f"{label_of_form}: forward")
            network.eval()
            tested = measure(forward, setting.device, setting.repeats)
            announce(f"{label_of_form}: training step")
            network.train()
            for norm in frozen:
                norm.eval()
            trained = measure(train_step, setting.device, setting.repeats)
        yield Cost(
            head=head,
            attention=attention,
            parameters=sum(p.numel() for p in network.parameters()),
            multiply_adds=multiply_adds(network, image),
            forward_ms=_scaled(tested.seconds, 1e3),
            train_step_ms=_scaled(trained.seconds, 1e3),
            forward_mb=_scaled(tested.peak, 1e-6),
            train_step_mb=_scaled(trained.peak, 1e-6),
            conditions=setting.conditions,
            label=config.model.head.get("label", head),
        )


def _processor() -> str:
    """Its name, where the system tells it."""
    path = Path("/proc/cpuinfo")
    match = re.search(r"^model name\s*:\s*(.+)$", path.read_text(), re.MULTILINE) if path.is_file() else None
    return match[1] if match else platform.processor() or "unnamed processor"


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else round(value * factor, 3)
