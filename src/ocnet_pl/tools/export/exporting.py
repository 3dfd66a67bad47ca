"""Export a trained network, check the file against it, and say what its attention stores."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ocnet_pl import __version__
from ocnet_pl.atomic import whole_file
from ocnet_pl.errors import UserError, readable_os_errors
from ocnet_pl.model.attention import attention_calls
from ocnet_pl.resizing import Size
from ocnet_pl.run.provenance import weights_sha256
from ocnet_pl.run.restoring import Restored
from ocnet_pl.tools.export.formats import FORMATS, Run

TOLERANCE = 1e-4
"""Largest difference of logits, as a share of the largest logit, or of 1 if that is larger."""
CHECKED = ((1, (161, 97)), (2, (96, 160)), (1, (225, 225)))
"""Batches and sizes that a file for any size is checked at."""
LARGE: Size = (1024, 2048)
"""Size of an image of Cityscapes, for the memory of attention maps."""


@dataclass(frozen=True)
class Export:
    """Summary of an export.

    Attributes:
        difference: largest difference of logits from those of the network, as a share of the largest logit, or of 1.
        sizes: sizes (height, width) of the images that were compared.
        largest_map: (N, M) of the largest attention map that the file stores for one image, and that image's size; None
            if it stores none.
    """

    difference: float
    sizes: tuple[Size, ...]
    largest_map: tuple[int, int] | None
    image: Size


def export_network(restored: Restored, out: Path, *, size: Size | None, floats: bool) -> Export:
    """Write the network of a checkpoint as `.pt2` or `.onnx`; RGB in 0..255 (B, 3, H, W) -> logits (B, K, H, W).

    Args:
        restored: opened checkpoint, on the CPU.
        out: file to write.
        size: (height, width) of all images; None: any size.
        floats: the file takes float32; otherwise it takes bytes.

    Raises:
        UserError: a network that cannot be exported in this way, a file that computes other logits (it is not written),
            or a place that cannot be written.
    """
    network, form = restored.predictor.network, FORMATS[out.suffix]
    dtype = torch.float32 if floats else torch.uint8
    try:
        content = form.export(network, dtype, size, _facts(restored))
        run = form.load(content)
    except Exception as error:  # exporters raise any kind of error for what they do not know
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        way = f"images of {size[0]}x{size[1]}" if size else "images of any size"
        remedy = "try the other of .pt2 and .onnx" if size else "give the size of all images: --size HEIGHTxWIDTH"
        raise UserError(
            f"{out}: {type(network.head).__name__} cannot be exported as {out.suffix} for {way} ({reason}); {remedy}"
        ) from error
    checked = tuple((batch, size) for batch in (1, 2)) if size else CHECKED
    difference = largest_difference(run, network, checked, dtype)
    if not difference <= TOLERANCE:
        raise UserError(
            f"{out}: not written: its logits differ from the network's by {difference:.1e} of the largest, more than "
            f"{TOLERANCE:.0e}; try the other of .pt2 and .onnx, and report this as a bug"
        )
    with readable_os_errors(out), whole_file(out) as file:
        file.write(content)
    image = size or LARGE
    stored = largest_map(network, image) if form.stores_attention else None
    return Export(difference, tuple(one for _, one in checked), stored, image)


def largest_map(network: nn.Module, size: Size) -> tuple[int, int] | None:
    """(N, M) of the attention call with the most weights for one image, from shapes alone; None without attention."""
    shadow = copy.deepcopy(network).to("meta").eval()
    with attention_calls() as calls, torch.no_grad():
        shadow(torch.empty(1, 3, *size, device="meta"))
    maps = [(batch * positions, others) for batch, positions, others in calls]
    return max(maps, key=lambda one: one[0] * one[1], default=None)


def _facts(restored: Restored) -> dict[str, object]:
    """Metadata of the file, by name, for its users."""
    classes = restored.data.classes
    return {
        "ocnet_pl": __version__,
        "input": "RGB, 0 to 255, (batch, 3, height, width)",
        "output": "logits (batch, classes, height, width)",
        "classes": list(classes),
        "stored_ids": restored.data.encode(np.arange(len(classes), dtype=np.uint8)).tolist(),
        "head": restored.checkpoint.head,
        "step": restored.checkpoint.step,
        "weights_sha256": weights_sha256(restored.predictor.network),
    }


@torch.no_grad()
def largest_difference(
    run: Run, network: nn.Module, checked: tuple[tuple[int, Size], ...], dtype: torch.dtype
) -> float:
    """Largest relative difference of logits; not a number if a logit is none."""
    differences = []
    for image in _images(checked, dtype):
        expected = network(image)
        scale = expected.abs().max().clamp_min(1)
        differences.append((run(image) - expected).abs().max() / scale)
    return float(torch.stack(differences).max())


def _images(checked: tuple[tuple[int, Size], ...], dtype: torch.dtype) -> Iterator[Tensor]:
    """Smooth random images: neither the sum of noise nor one colour hides a wrong position."""
    generator = torch.Generator().manual_seed(0)
    for batch, size in checked:
        coarse = torch.randint(256, (batch, 3, *(-(-side // 16) for side in size)), generator=generator).float()
        pixels = nn.functional.interpolate(coarse, size, mode="bilinear", align_corners=False)
        yield pixels.round().to(dtype)
