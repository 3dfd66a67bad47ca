"""Names, norms and input normalisation in the checkpoints of the OCNet authors.

Source: openseg-group/OCNet.pytorch, `network/*.py`, `oc_module/*.py`, `inplace_abn/src/inplace_abn_cuda.cu`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ocnet_pl.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

Weights = Mapping[str, "Tensor"]

ABN_EPSILON = 1e-5
"""InPlaceABN scales by |weight| + epsilon, batch norm by weight."""

CLASSIFIER = "cls.weight"
"""The classifier's weights, one row for each class."""

COUNTER = "num_batches_tracked"
"""Missing in files of PyTorch 0.4; nothing depends on it at a fixed momentum."""

BLOCKS = {23: "resnet101s", 6: "resnet50s"}
"""Number of blocks in `layer3` -> timm's name of the network with the deep stem."""

_STEM = {"conv1.0": "conv1", "conv1.1": "bn1", "conv1.3": "conv2", "conv1.4": "bn2", "conv1.6": "conv3", "bn1": "bn3"}
"""timm's names in the stem -> the authors' names; the four stages have equal names."""

_BACKBONE = re.compile(r"(conv|bn)[123]\.|layer[1234]\.")


@dataclass(frozen=True)
class Layout:
    """Place of a whole network in a file of the authors.

    Attributes:
        modules: our module -> the authors' module, for everything after the backbone.
        overrides: settings with which our network equals the authors' network.
    """

    modules: Mapping[str, str]
    overrides: tuple[str, ...] = ()

    def name(self, key: str) -> str:
        """Our name of a tensor -> the authors' name: `head.fuse.0.bias` -> `context.2.conv_bn_dropout.0.bias`."""
        if key.startswith("backbone."):
            return backbone_name(key.removeprefix("backbone."))
        module, _, leaf = key.rpartition(".")
        return f"{self.modules.get(module, module)}.{leaf}"

    def fits(self, names: Iterable[str]) -> bool:
        """Return whether a file has exactly the modules of this network, apart from the backbone; ignores shapes."""
        return {name.rpartition(".")[0] for name in names if not _BACKBONE.match(name)} == set(self.modules.values())


def backbone_name(key: str) -> str:
    """Our (timm's) name of a tensor of the backbone -> the authors' name: `conv1.4.bias` -> `bn2.bias`."""
    module, _, leaf = key.rpartition(".")
    return f"{_STEM.get(module, module)}.{leaf}"


def _conv_norm(ours: str, theirs: str) -> dict[str, str]:
    return {f"{ours}.{i}": f"{theirs}.{i}" for i in (0, 1)}


def _attention(ours: str, theirs: str) -> dict[str, str]:
    return {
        **_conv_norm(f"{ours}.key", f"{theirs}.f_key"),
        f"{ours}.value": f"{theirs}.f_value",
        f"{ours}.project": f"{theirs}.W",
    }


def _base_oc() -> dict[str, str]:
    return {
        **_conv_norm("head.reduce", "context"),
        **_attention("head.pool", "context.2.stages.0"),
        **_conv_norm("head.fuse", "context.2.conv_bn_dropout"),
    }


def _asp_oc(module: str) -> dict[str, str]:
    return {
        **_conv_norm("head.pyramid.context.0", f"{module}.context"),
        **_attention("head.pyramid.context.1", f"{module}.context.2.stages.0"),
        **_conv_norm("head.pyramid.context.2", f"{module}.context.2.conv_bn_dropout"),
        **_conv_norm("head.pyramid.point", f"{module}.conv2"),
        **_conv_norm("head.pyramid.dilated.0", f"{module}.conv3"),
        **_conv_norm("head.pyramid.dilated.1", f"{module}.conv4"),
        **_conv_norm("head.pyramid.dilated.2", f"{module}.conv5"),
        **_conv_norm("head.pyramid.fuse", f"{module}.conv_bn_dropout"),
    }


def _pyramid_oc(reduction: str, module: str) -> dict[str, str]:
    pools = [_attention(f"head.pools.{i}", f"{module}.stages.{i}") for i in range(4)]
    return {
        **_conv_norm("head.reduce", reduction),
        **_conv_norm("head.identity", f"{module}.up_dr"),
        **{ours: theirs for pool in pools for ours, theirs in pool.items()},
        **_conv_norm("head.fuse", f"{module}.conv_bn_dropout"),
    }


_CLASSIFIERS = {"classifier": "cls", **_conv_norm("auxiliary.0", "dsn"), "auxiliary.2": "dsn.3"}

LAYOUTS = {
    "asp_oc": [Layout(_asp_oc("context") | _CLASSIFIERS)],
    "asp_oc_2019": [Layout(_conv_norm("head.reduce", "context") | _asp_oc("context.2") | _CLASSIFIERS)],
    "base_oc": [Layout(_base_oc() | _CLASSIFIERS)],
    "pyramid_oc": [
        # As released: the norms of layer5 and dsn have no activation.
        Layout(
            _pyramid_oc("layer5", "context") | _CLASSIFIERS,
            ("model.head.reduction_negative_slope=1.0", "model.negative_slope=1.0"),
        ),
        # Assembled like the authors' other networks.
        Layout(_pyramid_oc("context", "context.2") | _CLASSIFIERS),
    ],
}
"""Our head -> its layouts in files of the authors, the released layout first."""


def find_layout(head: str, names: Iterable[str]) -> Layout:
    """Layout of a head in a file; the released layout if no layout fits."""
    names = list(names)
    return next((layout for layout in LAYOUTS[head] if layout.fits(names)), LAYOUTS[head][0])


def recognise(names: Iterable[str]) -> str | None:
    """Option that converts a file with these names: `--head base_oc` or `--backbone`; None for an unknown network."""
    names = [name for name in names if not _is_imagenet_classifier(name)]
    if names and all(_BACKBONE.match(name) for name in names):
        return "--backbone"
    return next((f"--head {head}" for head in LAYOUTS if any(layout.fits(names) for layout in LAYOUTS[head])), None)


def backbone_model(names: Iterable[str]) -> str:
    """timm's name of the backbone in a file, inferred from the blocks of `layer3`; by default, of ResNet-101."""
    blocks = {match[1] for name in names if (match := re.match(r"layer3\.(\d+)\.", name))}
    return BLOCKS.get(len(blocks), BLOCKS[23])


def single_names(weights: Weights) -> dict[str, "Tensor"]:
    """Tensors of a file, each once, without DataParallel's prefix and the counters of batch norm.

    `f_query` is the authors' second name for the tensors of `f_key`.

    Raises:
        UserError: query and key differ, so it is another network.
    """
    bare = {name.removeprefix("module."): tensor for name, tensor in weights.items() if not name.endswith(COUNTER)}
    for name in [name for name in bare if ".f_query." in name]:
        key = bare.get(name.replace(".f_query.", ".f_key."))
        if key is None:
            continue
        if not bare[name].equal(key):
            raise UserError(f"{name} differs from f_key: the authors' network shares one transform")
        del bare[name]
    return bare


def without_imagenet_classifier(weights: Weights) -> dict[str, "Tensor"]:
    """Weights without the classifier of an ImageNet network."""
    return {name: tensor for name, tensor in weights.items() if not _is_imagenet_classifier(name)}


def _is_imagenet_classifier(name: str) -> bool:
    return name.startswith(("fc.", "last_linear."))


def differences(weights: Weights, expected: Weights) -> str:
    """Describe missing and unexpected names in a file, or else wrong shapes; empty if it holds what is expected."""
    missing = [name for name in expected if name not in weights]
    unexpected = [name for name in weights if name not in expected]
    misshapen = [
        f"{name} {'x'.join(map(str, weights[name].shape))}, not {'x'.join(map(str, tensor.shape))}"
        for name, tensor in expected.items()
        if not missing and not unexpected and weights[name].shape != tensor.shape
    ]
    kinds = (("missing", missing), ("unexpected", unexpected), ("of another shape", misshapen))
    return "; ".join(_some(kind, names) for kind, names in kinds if names)


def _some(kind: str, names: list[str]) -> str:
    return f"{len(names)} {kind} ({', '.join(names[:5])}{', ...' if len(names) > 5 else ''})"


def translate(weights: Weights, names: Mapping[str, str], *, inplace_abn: bool) -> dict[str, "Tensor"]:
    """The authors' tensors under our names; `names` maps our names to theirs.

    InPlaceABN scales by |weight| + epsilon; batch norm computes the same with that as its weight.
    """
    norms = {name.removesuffix("running_mean") for name in names if name.endswith("running_mean")}
    scales = {f"{norm}weight" for norm in norms} if inplace_abn else set()
    return {
        ours: weights[theirs].abs() + ABN_EPSILON if ours in scales else weights[theirs]
        for ours, theirs in names.items()
    }


@dataclass(frozen=True)
class Input:
    """Input normalisation of a network.

    Attributes:
        description: text for readers.
        means: means subtracted from red, green and blue in 0..255, without a division; None: timm's mean and deviation.
        bgr: blue comes first.
    """

    description: str
    means: tuple[float, float, float] | None = None
    bgr: bool = False

    @property
    def overrides(self) -> list[str]:
        """Settings for our network, which takes RGB and states means in 0..1."""
        if self.means is None:
            return []
        mean, std = (",".join(f"{value / 255:.10g}" for value in values) for values in (self.means, (1, 1, 1)))
        return [f"model.bgr={str(self.bgr).lower()}", f"model.mean=[{mean}]", f"model.std=[{std}]"]


_BLUE, _GREEN, _RED = 102.9801, 115.9465, 122.7717

INPUTS = {
    "bgr": Input("BGR in 0..255 minus the mean of each channel", (_RED, _GREEN, _BLUE), bgr=True),
    "oc": Input("RGB in 0..255 minus the means of BGR, a known bug of the original code", (_BLUE, _GREEN, _RED)),
    "rgb": Input("RGB in 0..1 with ImageNet's mean and standard deviation"),
}
"""Values of `--input`. Sources: `dataset/cityscapes.py`, and the authors' comment in their issue 11."""
