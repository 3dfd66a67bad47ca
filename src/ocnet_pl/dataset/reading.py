"""Files -> arrays. A file that cannot be read is named in one line."""

from pathlib import Path
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torchvision.io import ImageReadMode, decode_image

from ocnet_pl.errors import UserError

Bytes = NDArray[np.uint8]


def read_image(path: Path) -> Bytes:
    """Photograph -> RGB (H, W, 3) uint8; grey-scale becomes RGB."""
    try:
        tensor = decode_image(str(path), mode=ImageReadMode.RGB)
    except RuntimeError as error:
        raise _unreadable(path) from error
    if tensor.dtype.itemsize != 1:
        raise UserError(f"{path}: {tensor.dtype} image, 8 bits a channel expected; convert it")
    image: Bytes = tensor.permute(1, 2, 0).numpy()
    return image


def read_label(path: Path) -> Bytes:
    """Single-channel 8-bit image (grey or palette) -> stored ids (H, W) uint8."""
    try:
        with Image.open(path) as image:
            image.load()
            if image.mode not in ("L", "P"):
                raise UserError(
                    f"{path}: label of mode {image.mode}, one 8-bit channel of class ids expected; "
                    "is this a colour or a 16-bit image?"
                )
            return np.array(image)
    except (OSError, SyntaxError) as error:
        raise _unreadable(path) from error


def _unreadable(path: Path) -> UserError:
    if not path.is_file():
        return UserError(f"{path}: no such file")
    if path.stat().st_size == 0:
        return UserError(f"{path}: empty file; copy it again")
    return UserError(f"{path}: cannot be decoded, truncated or not an image; copy it again")
