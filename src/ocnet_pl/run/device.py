"""Device that a command computes on."""

import torch

from ocnet_pl.errors import UserError


def choose_device(name: str | None) -> torch.device:
    """The requested device, else a GPU if available, else the CPU.

    Raises:
        UserError: a GPU is requested and torch finds none.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UserError("--device cuda: torch finds no CUDA device; use --device cpu, or leave it out")
    return torch.device(name or ("cuda" if available else "cpu"))
