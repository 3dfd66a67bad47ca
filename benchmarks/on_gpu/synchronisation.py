"""Training steps in which the CPU must not wait for the GPU."""

import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

import ocnet_pl
from ocnet_pl.config.search_path import options
from on_gpu.section import Finding, Scope, Section

WAITING = ("aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::equal", "aten::_unique2")
"""Operations whose result or size the CPU needs, for the rehearsal; a GPU reports every kind of waiting itself."""
SOURCE = Path(ocnet_pl.__file__).parent


class Refusing(TorchDispatchMode):
    """Raises where the CPU would wait."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if (name := function._schema.name) in WAITING:
            raise RuntimeError(f"{name} waits for the device")
        return function(*args, **(kwargs or {}))


def _items(scope: Scope) -> list[str]:
    losses = ["ohem"] if scope.rehearsal else options("loss")
    return [*scope.heads, *(f"base_oc loss={loss}" for loss in losses)]


def _findings(scope: Scope, item: str) -> Iterator[Finding]:
    head, *overrides = item.split()
    subject = scope.subject(head, *overrides, size=scope.sizes(129, 193), backbone="tiny")
    subject.prepare_training()
    for _ in range(2):  # momentum, workspaces and the choice of kernels
        subject.train_step()
    try:
        if scope.device.type == "cuda":
            torch.cuda.synchronize()
            torch.cuda.set_sync_debug_mode("error")
            subject.train_step()
        else:
            with Refusing():
                subject.train_step()
    except RuntimeError as error:
        yield Finding((item, str(error).splitlines()[0], _place(error)), holds=False)
    else:
        yield Finding((item, "", ""), holds=True)
    finally:
        if scope.device.type == "cuda":
            torch.cuda.set_sync_debug_mode("default")


def _place(error: BaseException) -> str:
    """The line of the package that waits, or else the last line."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(SOURCE / "model")]
    own = own or [frame for frame in frames if Path(frame.filename).is_relative_to(SOURCE)] or frames
    return f"{Path(own[-1].filename).name}:{own[-1].lineno} {own[-1].line}"


SECTION = Section(
    "Synchronisations",
    "In a training step (losses, gradients, optimizer) the CPU never waits for the GPU "
    '(`torch.cuda.set_sync_debug_mode("error")` on a tiny backbone).',
    ("head and loss", "waits for", "where"),
    70,
    _items,
    _findings,
)
