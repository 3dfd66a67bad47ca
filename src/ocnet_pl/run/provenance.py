"""Provenance of a result: code, packages, machine and weights."""

import hashlib
import platform
import resource
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import torch
from torch import nn

PACKAGES = (
    "torch",
    "torchvision",
    "pytorch-lightning",
    "hydra-core",
    "torchmetrics",
    "albumentations",
    "timm",
    "numpy",
)


def commit() -> str | None:
    """Commit of the checkout that this code runs from; None when it is installed from a wheel."""
    source = Path(__file__).resolve().parent
    git = ["git", "-C", str(source)]
    try:
        name = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        tracked = subprocess.run([*git, "ls-files", "--error-unmatch", __file__], capture_output=True, check=False)
        changes = subprocess.run(
            [*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    if tracked.returncode:
        return None  # an environment inside somebody else's repository
    return f"{name}+changes" if changes.strip() else name


def packages() -> dict[str, str]:
    """Versions of Python and of the packages that affect results."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def device_name(device: torch.device) -> str:
    """Name of a device, e.g. `cuda: NVIDIA H200` or `cpu: x86_64, 2 threads`."""
    if device.type == "cuda":
        return f"cuda: {torch.cuda.get_device_name(device)}"
    return f"{device.type}: {platform.machine()}, {torch.get_num_threads()} threads"


def peak_memory(device: torch.device) -> int:
    """Peak memory in bytes: allocated on the GPU, or resident in this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def weights_sha256(network: nn.Module) -> str:
    """Hash of all weights and norm statistics, in the order of their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(
            tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
            if tensor.ndim
            else str(tensor.item()).encode()
        )
    return digest.hexdigest()


def parameter_counts(network: nn.Module) -> dict[str, int]:
    """Number of weights by part (backbone, head, classifier, auxiliary), and their total."""
    parts = {name: sum(p.numel() for p in part.parameters()) for name, part in network.named_children()}
    return {name: count for name, count in parts.items() if count} | {"total": sum(parts.values())}
