"""The machine and the versions."""

import platform
from collections.abc import Iterator

import torch

from ocnet_pl.run import provenance
from ocnet_pl.tools.cost.measuring import processor_name
from on_gpu.section import Finding, Scope, Section


def _facts(scope: Scope) -> list[str]:
    return ["device", "capability", "memory (GB)", "driver's CUDA", "cuDNN", "processor", "packages", "commit"]


def _fact(scope: Scope, name: str) -> Iterator[Finding]:
    on_gpu = scope.device.type == "cuda"
    properties = torch.cuda.get_device_properties(scope.device) if on_gpu else None
    values = {
        "device": lambda: provenance.device_name(scope.device),
        "capability": lambda: f"{properties.major}.{properties.minor}" if properties else "-",
        "memory (GB)": lambda: f"{properties.total_memory / 1e9:.0f}" if properties else "-",
        "driver's CUDA": lambda: str(torch.version.cuda),
        "cuDNN": lambda: str(torch.backends.cudnn.version()),
        "processor": lambda: f"{processor_name()}, {torch.get_num_threads()} threads, {platform.platform()}",
        "packages": lambda: ", ".join(f"{name} {version}" for name, version in provenance.packages().items()),
        "commit": lambda: str(provenance.commit()),
    }
    yield Finding((name, values[name]()))


SECTION = Section("Machine", "The card, and the versions of what ran.", ("fact", "value"), 20, _facts, _fact)
