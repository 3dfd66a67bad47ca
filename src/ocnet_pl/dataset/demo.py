"""Synthetic Cityscapes: a small tree of scenes in which a local patch does not determine the class."""

import json
from collections.abc import Callable, Mapping, Sequence
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
from ocnet_pl.dataset.reading import Bytes
from ocnet_pl.errors import UserError
from ocnet_pl.randomness import derive_seed

_IDS = {c.name: c.id for c in Official.classes}
_SKIES = {"road": (110, 170, 235), "terrain": (205, 180, 150)}
_VERSION = 1
_VEHICLES = {"car": (230, 159, 0), "truck": (0, 158, 115), "bus": (213, 94, 0), "train": (204, 121, 167)}
"""Colours of Okabe and Ito: in Cityscapes' palette, all vehicles are dark blue."""


class Demo(Cityscapes):
    """Synthetic scenes in the layout of Cityscapes. Every scene contains

    * a sky, clear or hazy, and the ground below it. The ground looks the same everywhere: under a clear sky its class
      is road, under a hazy sky terrain. **The scene decides**, far from the pixel;
    * a row of buildings with windows, which a patch alone identifies;
    * two or three vehicles, long boxes of random size and colour. The class depends on a badge somewhere on the box:
      disc = car, stripes = truck, cross = bus, ring = train. **The object decides**: a pixel has to find its own
      object by its colour, and read the badge on it;
    * a strip of ego vehicle along the lower edge, which is ignored.

    Args:
        image_size: (height, width).
        num_images: number of images of each split.
        drawing_seed: seed of the scenes, independent of the run's seed: all runs of a sweep see one data set.
        cityscapes: arguments of `Cityscapes`.
    """

    palette = np.array(
        [_VEHICLES.get(name, colour) for name, colour in zip(Cityscapes.classes, Cityscapes.palette, strict=True)],
        np.uint8,
    )
    # There are no persons: structure losses compare the centres of vehicles.
    body_parts: Mapping[str, Sequence[int]] | None = MappingProxyType(
        {name: (Cityscapes.classes.index(name),) for name in ("car", "truck", "bus", "train")}
    )

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
            image, label = draw_scene(np.random.default_rng(derive_seed(seed, split, index)), size)
            stem = f"demo_{index:06d}_000019"
            write_png(photos / f"{stem}_leftImg8bit.png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
            write_png(labels / f"{stem}_gtFine_labelIds.png", label)


def write_png(path: Path, pixels: NDArray[Any]) -> None:
    """Write BGR (H, W, 3) or grey (H, W).

    Raises:
        OSError: e.g. a full disk, which `cv2.imwrite` does not report.
    """
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())


def draw_scene(rng: np.random.Generator, size: tuple[int, int]) -> tuple[Bytes, Bytes]:
    """One scene: RGB (H, W, 3) uint8 and Cityscapes label ids (H, W) uint8."""
    height, width = size
    horizon = round(height * rng.uniform(0.30, 0.40))
    ground = str(rng.choice(list(_SKIES)))
    image = np.empty((height, width, 3), np.float32)
    label = np.empty((height, width), np.uint8)
    image[:horizon], label[:horizon] = _SKIES[ground], _IDS["sky"]
    image[horizon:], label[horizon:] = (105, 105, 105), _IDS[ground]
    _draw_buildings(rng, image, label, horizon)
    _draw_vehicles(rng, image, label, horizon)
    image += rng.normal(0, 8, image.shape)
    strip = max(2, height // 32)
    image[-strip:], label[-strip:] = (30, 30, 40), _IDS["ego vehicle"]
    return np.clip(image, 0, 255).astype(np.uint8), label


def _draw_buildings(rng: np.random.Generator, image: NDArray[np.float32], label: Bytes, horizon: int) -> None:
    left = int(rng.integers(0, 12))
    width = image.shape[1]
    while left < width:
        right = min(width, left + int(rng.integers(16, 40)))
        top = horizon - int(rng.integers(horizon // 5, horizon // 2))
        image[top:horizon, left:right] = rng.uniform(60, 120) * np.array([1.0, 0.8, 0.7])
        image[top + 2 : horizon - 1 : 5, left + 2 : right - 1 : 4] = (240, 230, 150)
        label[top:horizon, left:right] = _IDS["building"]
        left = right + int(rng.integers(4, 40))


def _draw_vehicles(rng: np.random.Generator, image: NDArray[np.float32], label: Bytes, horizon: int) -> None:
    height, width = label.shape
    badges = list(_BADGES)
    hues = (rng.uniform(0, 180) + np.arange(4) * 45) % 180  # far apart, so that colours identify objects
    lanes = np.sort(rng.permutation(3)[: int(rng.integers(2, 4))])
    lane_height = (height - horizon) / 3.2
    for lane, hue in zip(lanes, hues, strict=False):
        box_height = round(lane_height * rng.uniform(0.82, 0.9))
        box_width = round(width * rng.uniform(0.6, 0.9))
        top = horizon + round(lane_height * (0.1 + lane))
        left = int(rng.integers(2, width - box_width - 1))
        box = (slice(top, top + box_height), slice(left, left + box_width))
        colour = cv2.cvtColor(np.array([[[hue, 110, 180]]], np.uint8), cv2.COLOR_HSV2RGB)[0, 0]
        image[box] = colour
        kind = str(rng.choice(badges))
        label[box] = _IDS[kind]
        side = min(box_height - 3, 14)
        y = top + int(rng.integers(1, box_height - side))
        x = left + int(rng.integers(2, box_width - side - 1))
        shape, paint = _BADGES[kind]
        axis = (np.arange(side) + 0.5) / side * 2 - 1
        image[y : y + side, x : x + side][shape(axis[:, None], axis[None, :])] = paint


_Axis = NDArray[np.float64]
_BADGES: dict[str, tuple[Callable[[_Axis, _Axis], NDArray[np.bool_]], tuple[int, int, int]]] = {
    "car": (lambda y, x: np.hypot(y, x) < 0.8, (255, 255, 255)),  # disc
    "truck": (lambda y, x: np.floor((x + 1) * 2.5) % 2 + 0 * y == 0, (0, 0, 0)),  # stripes
    "bus": (lambda y, x: (abs(y) < 0.3) | (abs(x) < 0.3), (255, 230, 0)),  # cross
    "train": (lambda y, x: abs(np.hypot(y, x) - 0.75) < 0.22, (230, 0, 0)),  # ring
}
"""Shape of each badge for y and x from -1 to 1, and its colour."""
