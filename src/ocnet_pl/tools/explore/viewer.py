"""Questions about single pixels of a few images, answered by a few networks: one forward pass for all of an image."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ocnet_pl.dataset.reading import Bytes, read_image
from ocnet_pl.drawing.overlay import colour
from ocnet_pl.errors import UserError
from ocnet_pl.metrics import IGNORE
from ocnet_pl.model.object_context import ObjectContext
from ocnet_pl.resizing import resize_image
from ocnet_pl.tools.explore.opening import Explored, refuse_several_data_sets
from ocnet_pl.tools.explore.picture import find_truth, own_shares

LONGEST_SIDE = 2048
"""Of a picture that is not the data set's: larger ones are shrunk to it, so that attention stays affordable."""
MOST_ADDED = 16
"""Images of the user's own that are held at once, of at most `LONGEST_SIDE` squared pixels: 200 MB."""
_REMEMBERED = 4
"""Forward passes: a map is asked for again and again."""


@dataclass(frozen=True)
class Seen:
    """An image that can be asked about; its truth (H, W) where it is known."""

    name: str
    image: Bytes
    truth: Bytes | None


@dataclass(frozen=True)
class Answer:
    """To one question.

    Attributes:
        x_edges, y_edges: where the parts of the positions begin and end, in pixels, (w + 1,) and (h + 1,).
        weights: of the positions, in multiples of equal weights, (h, w) float32.
        probabilities: of the classes at the pixel, (K,).
        truth: train id of the pixel; None: not known or ignored.
        own, uniform: share of the map on that class, and that of equal weights.
    """

    x_edges: list[float]
    y_edges: list[float]
    weights: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    truth: int | None
    own: float | None
    uniform: float | None


@dataclass(frozen=True)
class _Pass:
    """A network on an image: what it attends with, train ids (H, W), probabilities (K, H, W) in half precision."""

    context: ObjectContext
    prediction: Bytes
    probabilities: Tensor


class Viewer:
    """Holds networks and images, and answers.

    Args:
        explored: networks of one data set.
        images: photographs; their truth is taken from the data set where they are in it.

    Raises:
        UserError: networks of several data sets, or images that cannot be read.
    """

    def __init__(self, explored: Sequence[Explored], images: Sequence[Path]) -> None:
        refuse_several_data_sets(explored)
        self.explored = list(explored)
        self.data = explored[0].data
        given = (Seen(path.name, read_image(path), find_truth(self.data, path, None)) for path in images)
        self.images = dict(enumerate(given))
        """By number; a number is never given twice."""
        self.dropped: list[str] = []
        """Names of the last images that had to make room."""
        self._given = self._next = len(self.images)
        self._lock = threading.Lock()
        self._passes = lru_cache(_REMEMBERED)(self._run)

    def add(self, name: str, image: Bytes) -> int:
        """Take an image in, shrunk to `LONGEST_SIDE`; return its number. Of more than `MOST_ADDED` the oldest goes."""
        height, width = image.shape[:2]
        scale = min(1.0, LONGEST_SIDE / max(height, width))
        batch = torch.tensor(image).permute(2, 0, 1).unsqueeze(0)
        shrunk = resize_image(batch, (max(1, round(height * scale)), max(1, round(width * scale))))
        with self._lock:
            number, self._next = self._next, self._next + 1
            self.images[number] = Seen(name, shrunk[0].permute(1, 2, 0).contiguous().numpy(), None)
            while len(self.images) > self._given + MOST_ADDED:
                oldest = min(added for added in self.images if added >= self._given)
                self.dropped = [*self.dropped, self.images.pop(oldest).name][-MOST_ADDED:]
            return number

    def layer(self, name: str, image: int, checkpoint: int) -> Bytes:
        """`image`, `truth` or `prediction` as RGB (H, W, 3).

        Raises:
            UserError: another name, or a truth that is not known.
        """
        seen = self._seen(image)
        if name == "image":
            return seen.image
        if name == "prediction":
            return colour(self._pass(image, checkpoint).prediction, self.data.palette)
        if name == "truth" and seen.truth is not None:
            return colour(seen.truth, self.data.palette)
        raise UserError(f"{seen.name}: has no {name}")

    def look(self, image: int, checkpoint: int, number: int, x: int, y: int) -> Answer:
        """What a network looks at from a pixel, by its map `number`, and what it takes the pixel for.

        Raises:
            UserError: a pixel outside the image.
        """
        seen = self._seen(image)
        found = self._pass(image, checkpoint)
        context = found.context
        if number >= len(self.explored[checkpoint].maps):
            raise UserError(f"map={number}: this head has {len(self.explored[checkpoint].maps)} maps, from 0")
        positions = context.positions(number)
        (row,) = context.rows(number, [(x, y)]).float().cpu()
        equal = context.uniform(number, [(x, y)]).max()  # on every position that the attention reaches
        (share,) = own_shares(context, number, seen.truth, [(x, y)])
        truth = None if seen.truth is None or seen.truth[y, x] == IGNORE else int(seen.truth[y, x])
        return Answer(
            x_edges=positions.edges(1).tolist(),
            y_edges=positions.edges(0).tolist(),
            weights=(row / equal).numpy(),
            probabilities=found.probabilities[:, y, x].float().cpu().numpy(),
            truth=truth,
            own=share[0] if share else None,
            uniform=share[1] if share else None,
        )

    def _seen(self, image: int) -> Seen:
        seen = self.images.get(image)
        if seen is None and self._given <= image < self._next:
            raise UserError(f"this image had to make room: the last {MOST_ADDED} are kept; add it again")
        if seen is None:
            raise UserError(f"image={image}: no such image; reload the page")
        return seen

    def _pass(self, image: int, checkpoint: int) -> _Pass:
        if checkpoint >= len(self.explored):
            raise UserError(f"checkpoint={checkpoint}: there are {len(self.explored)}, from 0; reload the page")
        with self._lock:  # one at a time: two would need twice the memory, and may be the same
            return self._passes(image, checkpoint)

    @torch.inference_mode()
    def _run(self, image: int, checkpoint: int) -> _Pass:
        predictor, pixels = self.explored[checkpoint].predictor, self._seen(image).image
        try:
            logits = predictor.predict_logits(pixels)
        except torch.OutOfMemoryError:
            raise UserError("the image is larger than the GPU's memory holds; restart with --device cpu") from None
        if not bool(logits.isfinite().all()):
            raise UserError("the network's output is not finite: its training diverged; choose another checkpoint")
        prediction = logits.argmax(0).to(torch.uint8).cpu().numpy()
        return _Pass(predictor.attend(pixels), prediction, logits.softmax(0).half())
