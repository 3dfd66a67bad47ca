"""Files -> arrays. A file that cannot be read is named in one line."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ocnet_pl.errors import UserError

Bytes = NDArray[np.uint8]
Pair = tuple[Path, Path]
"""Files of an image and of its label."""

IMAGE_MODES = ("RGB", "L", "P", "RGBA", "LA")
LABEL_MODES = ("L", "P")


def read_image(path: Path) -> Bytes:
    """Photograph -> RGB (H, W, 3) uint8; grey-scale becomes RGB."""
    image = _read(path, IMAGE_MODES, "8 bits a channel, colour or grey")
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def read_label(path: Path) -> Bytes:
    """Single-channel 8-bit image (grey or palette) -> stored ids (H, W) uint8."""
    return np.asarray(_read(path, LABEL_MODES, "one 8-bit channel of class ids"))


def read_pair(pair: Pair) -> tuple[Bytes, Bytes]:
    """Image (H, W, 3) and stored ids (H, W), which must be of one size."""
    image, label = read_image(pair[0]), read_label(pair[1])
    if image.shape[:2] != label.shape:
        raise UserError(
            f"{pair[1]}: label is {label.shape[1]}x{label.shape[0]} but its image "
            f"{pair[0].name} is {image.shape[1]}x{image.shape[0]}; they must be of one size"
        )
    return image, label


def _read(path: Path, modes: tuple[str, ...], expected: str) -> Image.Image:
    try:
        with Image.open(path) as image:
            image.load()
    except (OSError, SyntaxError) as error:
        raise _unreadable(path) from error
    if image.mode not in modes:
        raise UserError(f"{path}: image of mode {image.mode}, expected {expected}; convert it")
    return image


def _unreadable(path: Path) -> UserError:
    if not path.is_file():
        return UserError(f"{path}: no such file")
    if path.stat().st_size == 0:
        return UserError(f"{path}: empty file; copy it again")
    return UserError(f"{path}: cannot be decoded, truncated or not an image; copy it again")
