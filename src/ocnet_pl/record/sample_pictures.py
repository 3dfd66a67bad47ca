"""Pictures of the first validation images that a finished run keeps."""

from pathlib import Path
from typing import Literal

from PIL import Image

from ocnet_pl.errors import UserError
from ocnet_pl.record.directory import RunDirectory

Kind = Literal["input", "truth", "prediction"]

_MAX_PIXELS = 2**24
"""Far more than any sample has: a small file that decodes to more is damaged."""


def sample_file(run: Path, name: str, kind: Kind) -> Path:
    """Path of one picture of a run."""
    return RunDirectory(run).samples / f"{name}-{kind}.png"


def read_sample(path: Path) -> Image.Image:
    """Decode a picture in its own mode."""
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            if picture.width * picture.height > _MAX_PIXELS:
                raise ValueError(f"{picture.width}x{picture.height} pixels")
            picture.load()
        return picture
    except Exception as error:  # a damaged file makes Pillow raise many kinds of exceptions
        raise UserError(f"{path}: damaged, or not a sample; restore or delete it") from error
