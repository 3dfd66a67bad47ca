"""Formats of exported networks: PyTorch's exported programs, and ONNX."""

import io
import json
import logging
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import timm.layers.padding
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from ocnet_pl.model.attention import textbook_attention
from ocnet_pl.resizing import Size

Run = Callable[[Tensor], Tensor]
"""Image (B, 3, H, W) -> logits (B, K, H, W)."""

INPUT, OUTPUT = "image", "logits"
"""Names of the input and the output."""
SMALLEST_SIDE = 96
"""Least side of images, in pixels, where a file takes any size."""
_TRACED = (2, 104, 136)
"""Batch, height and width of the image that is traced, different and above 1: equal or single sides would be fixed."""


class Format(ABC):
    """One format of files.

    Attributes:
        stores_attention: the file computes attention in the textbook form, with its map in memory.
    """

    stores_attention: bool

    def export(self, network: nn.Module, dtype: torch.dtype, size: Size | None, facts: Mapping[str, Any]) -> bytes:
        """Content of the file.

        Args:
            network: network in evaluation mode, on the CPU.
            dtype: type of the image's values, uint8 or float32.
            size: (height, width) of all images; None: any size. The batch is of any size in both cases.
            facts: plain values that the file carries under their names, as JSON.
        """
        with _silent(), textbook_attention() if self.stores_attention else nullcontext():
            return self._content(
                _traced(network, dtype, size), {name: json.dumps(value) for name, value in facts.items()}
            )

    @abstractmethod
    def load(self, content: bytes) -> Run:
        """The network of a file's content."""

    @abstractmethod
    def _content(self, program: ExportedProgram, facts: dict[str, str]) -> bytes: ...


class TorchProgram(Format):
    """PyTorch's exported program, for `torch.export.load` in Python, and AOTInductor. Attention stays fused."""

    stores_attention = False

    def load(self, content: bytes) -> Run:
        network = torch.export.load(io.BytesIO(content)).module()
        return lambda image: network(image)

    def _content(self, program: ExportedProgram, facts: dict[str, str]) -> bytes:
        file = io.BytesIO()
        torch.export.save(program, file, extra_files=facts)
        return file.getvalue()


class Onnx(Format):
    """ONNX. It has no attention without a map."""

    stores_attention = True

    def load(self, content: bytes) -> Run:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

        def run(image: Tensor) -> Tensor:
            (logits,) = session.run([OUTPUT], {INPUT: image.numpy()})
            return torch.from_numpy(logits)

        return run

    def _content(self, program: ExportedProgram, facts: dict[str, str]) -> bytes:
        exported = torch.onnx.export(program, input_names=[INPUT], output_names=[OUTPUT], verbose=False)
        assert exported is not None
        exported.model.metadata_props.update(facts)
        content: bytes = exported.model_proto.SerializeToString()
        return content


FORMATS: Mapping[str, Format] = {".pt2": TorchProgram(), ".onnx": Onnx()}
"""Formats by the suffix of their files."""


def _traced(network: nn.Module, dtype: torch.dtype, size: Size | None) -> ExportedProgram:
    batch, *traced = _TRACED
    height, width = size or traced
    varying = {0: Dim("batch")}
    if size is None:
        varying |= {2: Dim("height", min=SMALLEST_SIDE), 3: Dim("width", min=SMALLEST_SIDE)}
    with torch.no_grad(), patch.object(timm.layers.padding, "get_same_padding", _same_padding):
        return torch.export.export(
            network,
            (torch.zeros(batch, 3, height, width, dtype=dtype),),
            dynamic_shapes=(varying,),
            # A fact that the tracer cannot prove for every size is checked when the network runs.
            prefer_deferred_runtime_asserts_over_guards=True,
        )


def _same_padding(side: int, kernel_size: int, stride: int, dilation: int) -> int:
    """timm's padding of a side in whole numbers: programs with its division and rounding up cannot be saved."""
    rounded_up = (side + stride - 1) // stride  # -(-side // stride) would be rounded towards zero in ONNX
    return max((rounded_up - 1) * stride + (kernel_size - 1) * dilation + 1 - side, 0)


@contextmanager
def _silent() -> Iterator[None]:
    """Silence the exporters' notes about their own future; a failure is an exception."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
