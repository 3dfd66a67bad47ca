"""Synthetic Cityscapes: a small tree of drawn scenes, whose splits ask for different kinds of context."""

import json
from pathlib import Path
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from torchvision.datasets import Cityscapes as Official

from ocnet_pl.arguments import Name, Positive, Size, Whole, checked
from ocnet_pl.dataset.building import building
from ocnet_pl.dataset.cityscapes import Cityscapes
from ocnet_pl.dataset.labels import decoding_table, grouped
from ocnet_pl.dataset.scenes import KINDS, draw_scene
from ocnet_pl.errors import UserError
from ocnet_pl.metrics import IGNORE
from ocnet_pl.randomness import derive_seed

_VERSION = 2
_NAMES = ("road", "building", "terrain", "sky", "car", "truck", "bus", "train")
_KEPT = tuple(c for c in Official.classes if c.name in _NAMES)
_VEHICLES = {"car": (230, 159, 0), "truck": (0, 158, 115), "bus": (213, 94, 0), "train": (204, 121, 167)}
"""Colours of Okabe and Ito: in Cityscapes' palette, all vehicles are dark blue."""


class Demo(Cityscapes):
    """Synthetic scenes of eight classes in the layout of Cityscapes. Every scene has

    * a row of buildings with one gap, in which the sky is seen, clear or hazy;
    * the ground: road under a clear sky, terrain under a hazy one;
    * vehicles, boxes of random size and colour. The class depends on their badge: disc = car, stripes = truck,
      cross = bus, ring = train;
    * a strip of ego vehicle along the lower edge, which is ignored.

    There are two kinds of scenes:

    * `needs_object`: two long vehicles, each with one badge in a random place. **The object decides**: a pixel has to
      find its own object, by its colour, and read the badge on it. The ground is plain: its colour shows its class.
    * `needs_scene`: the ground has one colour in all scenes. **The scene decides**: only the sky, often far away,
      tells what the ground is. The vehicle is plain: it is shorter, and covered with its badge.

    Both kinds have all classes: what is a puzzle in one is plain in the other. A split with the name of a kind has
    scenes of that kind only; in all other splits (`train`, `val`) the kinds alternate.

    Args:
        image_size: (height, width).
        num_images: number of images of each split.
        drawing_seed: seed of the scenes, independent of the run's seed: all runs of a sweep see one data set.
        cityscapes: arguments of `Cityscapes`.
    """

    classes = tuple(c.name for c in _KEPT)
    palette = np.array([_VEHICLES.get(c.name, c.color) for c in _KEPT], np.uint8)
    class_weights = None
    table = decoding_table({c.id % 256: IGNORE for c in Official.classes} | {c.id: k for k, c in enumerate(_KEPT)})
    class_tree = MappingProxyType(grouped([c.category for c in _KEPT]))
    splits = MappingProxyType({**Cityscapes.splits, **{kind: (kind,) for kind in KINDS}})
    # There are no persons: structure losses compare the centres of vehicles.
    body_parts = MappingProxyType({c.name: (k,) for k, c in enumerate(_KEPT) if c.name in _VEHICLES})

    @checked
    def __init__(
        self,
        root: Name,
        *,
        image_size: Size = (96, 192),
        num_images: dict[str, Positive],
        drawing_seed: Whole = 0,
        **cityscapes: Any,
    ) -> None:
        super().__init__(root, **cityscapes)
        self.image_size = (image_size[0], image_size[1])
        self.num_images = num_images
        self.published_counts = self.num_images
        self.drawing_seed = drawing_seed

    def prepare_data(self) -> None:
        """Draw the tree once; several processes may call this at the same time."""
        recipe = {
            "version": _VERSION,
            "image_size": list(self.image_size),
            "num_images": self.num_images,
            "drawing_seed": self.drawing_seed,
        }
        if self._is_drawn(recipe):  # perhaps by another user, in a read-only folder
            return
        with building(self.root, f"root={self.root}") as unfinished:
            if not self._is_drawn(recipe):
                self._draw(unfinished, recipe)

    def _is_drawn(self, recipe: dict[str, Any]) -> bool:
        stamp = self.root / "demo.json"
        try:
            drawn = json.loads(stamp.read_text("utf-8"))
        except FileNotFoundError:
            return False
        except (OSError, ValueError) as error:
            raise UserError(f"{stamp}: cannot be read ({error}); delete {self.root} and rerun") from error
        if drawn != recipe:
            raise UserError(f"{self.root}: contains a demo tree of other settings; choose another root, or delete it")
        return True

    def _draw(self, unfinished: Path, recipe: dict[str, Any]) -> None:
        if self.root.exists() and any(self.root.iterdir()):
            raise UserError(f"{self.root}: is neither empty nor a demo tree; choose another root")
        draw_tree(unfinished, self.image_size, self.num_images, self.drawing_seed)
        (unfinished / "demo.json").write_text(json.dumps(recipe), "utf-8")
        if self.root.exists():
            self.root.rmdir()
        unfinished.rename(self.root)


def draw_tree(root: Path, size: tuple[int, int], num_images: dict[str, int], seed: int) -> None:
    """Write `num_images[split]` scenes of each split under the official names; they depend on the arguments only."""
    for split, count in num_images.items():
        photos, labels = root / "leftImg8bit" / split / "demo", root / "gtFine" / split / "demo"
        photos.mkdir(parents=True)
        labels.mkdir(parents=True)
        for index in range(count):
            kind = split if split in KINDS else KINDS[index % len(KINDS)]
            image, label = draw_scene(np.random.default_rng(derive_seed(seed, split, index)), size, kind)
            stem = f"demo_{index:06d}_000019"
            write_png(photos / f"{stem}_leftImg8bit.png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
            write_png(labels / f"{stem}_gtFine_labelIds.png", label)


def write_png(path: Path, pixels: NDArray[Any]) -> None:
    """Write BGR (H, W, 3) or grey (H, W).

    Raises:
        OSError: e.g. a full disk, which `cv2.imwrite` does not report.
    """
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
