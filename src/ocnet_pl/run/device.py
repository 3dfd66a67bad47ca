"""Where a command computes."""

import torch

from ocnet_pl.errors import UserError


def choose_device(name: str | None) -> torch.device:
    """The one asked for, or else a GPU where there is one.

    Raises:
        UserError: a GPU is asked for where torch finds none.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UserError("--device cuda: torch finds no CUDA device here; use --device cpu, or leave it out")
    return torch.device(name or ("cuda" if available else "cpu"))
