"""OCNet: Object Context Network for Scene Parsing, as tables one can trust.

import ocnet_pl

network = ocnet_pl.load("outputs/demo/base_oc/seed-0/checkpoints/last.ckpt")
classes = network.predict(image)  # RGB (H, W, 3) uint8 -> train ids (H, W) uint8
maps = network.object_context(image, [(x, y)])  # what those pixels look at, (pixels, maps, H, W)
ocnet_pl.heads()                  # the names that model/head=... takes
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["heads", "load"]

if TYPE_CHECKING:
    from ocnet_pl.config.compose import heads
    from ocnet_pl.run.restoring import load


def __getattr__(name: str) -> Any:
    # Late, because torch takes seconds and `--help` must not wait for it.
    if name == "load":
        from ocnet_pl.run.restoring import load

        return load
    if name == "heads":
        from ocnet_pl.config.compose import heads

        return heads
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
