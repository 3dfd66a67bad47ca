"""Profile heads: build each network from its config, and measure testing and training."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from omegaconf import DictConfig

from ocnet_pl.build import build_bare_module
from ocnet_pl.config.compose import compose
from ocnet_pl.config.search_path import options
from ocnet_pl.config.targets import import_target
from ocnet_pl.drawing.progress import progress_bar
from ocnet_pl.model.attention import textbook_attention
from ocnet_pl.model.contract import BodyParts, ClassTree, needed_targets
from ocnet_pl.module import SegmentationModule
from ocnet_pl.record.costs import EXPLICIT, MAPLESS, Cost, write_costs
from ocnet_pl.run.provenance import device_name
from ocnet_pl.tools.cost.measuring import (
    calls_attention,
    lone_norms,
    map_large_blocks,
    measure,
    multiply_adds,
    processor_name,
)


@dataclass(frozen=True)
class ProfileSettings:
    """Settings that all heads of a profile share.

    Attributes:
        size: size of the images, (height, width).
        batch: number of images in a batch.
        device: device of the networks.
        backbone: option of `conf/model/backbone`, or a timm name.
        precision: "32", or "bf16" for autocast as in `trainer.precision=bf16-mixed`.
        classes: number of classes.
        repeats: number of repetitions, of which the fastest is reported.
        explicit_attention: also measure textbook attention.
    """

    size: tuple[int, int]
    batch: int
    device: torch.device
    backbone: str
    precision: str
    classes: int
    repeats: int
    explicit_attention: bool

    @property
    def conditions(self) -> str:
        """One line for reports."""
        on_cpu = self.device.type == "cpu"
        processor = f" ({processor_name()})" if on_cpu else f", {torch.get_num_threads()} threads"
        height, width = self.size
        return (
            f"{device_name(self.device)}{processor}, torch {torch.__version__}, {self.backbone}, {height}x{width}, "
            f"batch {self.batch}, precision {self.precision}, fastest of {self.repeats}"
        )


def head_configs(heads: Sequence[str], backbone: str, overrides: Sequence[str] = ()) -> dict[str, DictConfig]:
    """Config of each head's network, without pretrained weights; the backbone is an option or a timm name.

    Raises:
        UserError: an unknown head or an invalid override.
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


def profile_heads(configs: Mapping[str, DictConfig], settings: ProfileSettings, csv: Path) -> list[Cost]:
    """Measure heads one by one with a progress bar; the CSV file is rewritten after each.

    Raises:
        UserError: a backbone that cannot be built.
    """
    costs: list[Cost] = []
    with progress_bar() as progress:
        task = progress.add_task("building", total=len(configs))
        for head, config in configs.items():
            for cost in profile_head(head, config, settings, lambda name: progress.update(task, description=name)):
                costs.append(cost)
                write_costs(csv, costs)  # if the system kills a later head for its memory, these are safe
            progress.advance(task)
    return costs


def profile_head(
    head: str, config: DictConfig, settings: ProfileSettings, announce: Callable[[str], None] = lambda _: None
) -> Iterator[Cost]:
    """Measure the network of one head, with both forms of attention if requested and if the head uses attention.

    `announce` is called with the name of each measurement before it starts.
    """
    subject = build_subject(config, settings)
    network, image = subject.module.network, subject.batch["image"]
    attends = calls_attention(network, image)
    forms: dict[str, AbstractContextManager[None]] = {MAPLESS if attends else "": nullcontext()}
    if attends and settings.explicit_attention:
        forms[EXPLICIT] = textbook_attention()
    for attention, form in forms.items():
        name = f"{head}, {attention} attention" if settings.explicit_attention and attention else head
        with form:
            announce(f"{name}: forward")
            subject.prepare_test()
            tested = measure(subject.forward, settings.device, settings.repeats)
            announce(f"{name}: training step")
            subject.prepare_training()
            trained = measure(subject.train_step, settings.device, settings.repeats)
        yield Cost(
            head=head,
            attention=attention,
            parameters=sum(p.numel() for p in network.parameters()),
            multiply_adds=multiply_adds(network, image),
            forward_ms=_scaled(tested.seconds, 1e3),
            train_step_ms=_scaled(trained.seconds, 1e3),
            forward_mb=_scaled(tested.peak, 1e-6),
            train_step_mb=_scaled(trained.peak, 1e-6),
            conditions=settings.conditions,
            label=config.model.head.get("label", head),
        )


def build_subject(config: DictConfig, settings: ProfileSettings) -> "Subject":
    """Network of a config with its losses, on the device of the settings, ready to be measured."""
    map_large_blocks()
    tree = _class_tree(config, settings.classes)
    module = build_bare_module(config, settings.classes, class_tree=tree, body_parts=_body_parts(config, tree))
    return Subject(module, settings)


def _class_tree(config: DictConfig, classes: int) -> ClassTree:
    """Groups of the data set's classes, if their number fits; else as many groups of consecutive ones as each has."""
    of_data: ClassTree | None = getattr(import_target(config.dataset, "dataset"), "class_tree", None)
    if of_data is not None and sum(map(len, of_data.values())) == classes:
        return of_data
    size = max(1, math.isqrt(classes))
    return {f"{first}...": range(first, min(first + size, classes)) for first in range(0, classes, size)}


def _body_parts(config: DictConfig, tree: ClassTree) -> BodyParts:
    """Parts of the body of the data set, if it has so many classes; else the groups of classes."""
    of_data: BodyParts | None = getattr(import_target(config.dataset, "dataset"), "body_parts", None)
    classes = {number for group in tree.values() for number in group}
    return of_data if of_data is not None and classes.issuperset(*of_data.values()) else tree


class Subject:
    """A module with a random batch, and the two operations that are measured."""

    def __init__(self, module: SegmentationModule, settings: ProfileSettings) -> None:
        batch, size, classes, device = settings.batch, settings.size, settings.classes, settings.device
        self.module = module.to(device)
        self.batch = {
            "image": torch.randint(256, (batch, 3, *size), dtype=torch.uint8, device=device),
            "label": torch.randint(classes, (batch, *size), dtype=torch.uint8, device=device),
            "index": torch.arange(batch, device=device),
        }
        for name, shape in needed_targets(module.network.head).items():  # somewhere in the image
            self.batch[name] = torch.rand(batch, *(shape or size), device=device) * min(size)
        self.optimizer = module.configure_optimizers()["optimizer"]
        self.untrainable = [
            module.network.get_submodule(name) for name in lone_norms(module.network, self.batch["image"])
        ]
        self.autocast = torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bf16")

    def prepare_test(self) -> None:
        self.optimizer.state.clear()  # a forward pass holds no momentum
        self.module.network.eval()

    def prepare_training(self) -> None:
        self.module.network.train()
        for norm in self.untrainable:
            norm.eval()

    def forward(self) -> None:
        with torch.inference_mode(), self.autocast:
            self.module.network(self.batch["image"])

    def train_step(self) -> None:
        with self.autocast:
            loss = torch.stack(list(self.module.terms(self.batch).values())).sum()
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else round(value * factor, 3)
