"""Comparisons of a table's main column beyond those with the baseline: data only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ocnet_pl.statistics import CHANCE, Interval

FEWEST_SEEDS = 5
"""Seeds of both rows from which single classes get verdicts: with three, the tail of Student's t is not calibrated."""

FEWEST_IMAGES = 5
"""Images (or blocks of images) with a class from which its differences get intervals."""


@dataclass(frozen=True)
class Pair:
    """Difference between two rows.

    Attributes:
        row, other: names of the rows; the first has the higher mean.
        interval: interval of the difference.
        p_holm: p-value together with all pairs; None if the interval decides nothing.
    """

    row: str
    other: str
    interval: Interval
    p_holm: float | None

    @property
    def decided(self) -> bool:
        """True if the rows are told apart."""
        return self.p_holm is not None and self.p_holm <= CHANCE


@dataclass(frozen=True)
class Pairs:
    """Pairs of a column.

    Attributes:
        order: names of the rows, the highest mean first.
        pairs: the pairs whose interval is known.
        ranks: lowest and highest rank of each row in 95 % of repetitions; empty if a pair is unknown or undecidable.
    """

    order: Sequence[str]
    pairs: Sequence[Pair]
    ranks: Mapping[str, tuple[int, int]]

    @property
    def family(self) -> int:
        """Number of pairs that are tested together."""
        return sum(pair.p_holm is not None for pair in self.pairs)

    @property
    def best(self) -> list[str]:
        """The highest row and those that are not told apart from it; empty if no other row is tested against it."""
        of_first = [pair for pair in self.pairs if self.order[0] in (pair.row, pair.other)]
        if not any(pair.p_holm is not None for pair in of_first):
            return []
        ties = {name for pair in of_first if not pair.decided for name in (pair.row, pair.other)}
        return [name for name in self.order if name == self.order[0] or name in ties]

    def between(self, row: str, other: str) -> Pair | None:
        """Pair of two rows; None if unknown."""
        return next((pair for pair in self.pairs if {pair.row, pair.other} == {row, other}), None)


@dataclass(frozen=True)
class ClassDifference:
    """Difference of a row to the baseline in the IoU of one class.

    Attributes:
        difference: difference of the means over seeds, in points.
        interval: its interval alone, without correction; None for a class in fewer than five images.
        p_corrected: p-value together with all classes and rows (Benjamini-Hochberg); None with fewer than five seeds.
    """

    difference: float
    interval: Interval | None = None
    p_corrected: float | None = None

    @property
    def decided(self) -> bool:
        """True if the difference is significant together with all others."""
        return self.p_corrected is not None and self.p_corrected <= CHANCE


@dataclass(frozen=True)
class Analysis:
    """Statistics from the per-image counts of a column.

    Attributes:
        pairs: every row against every other.
        class_images: number of images that have a class in their labels, by class.
        class_differences: differences to the baseline by class, then by row name.
        invented: classes that are in no label, and names of the runs that predict them.
    """

    pairs: Pairs
    class_images: Mapping[str, int]
    class_differences: Mapping[str, Mapping[str, ClassDifference]]
    invented: Sequence[tuple[str, Sequence[str]]]
