"""How long a loader takes for a sample."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Time of one loader for an average sample.

    Attributes:
        loader: its name.
        total_ms: processor time of the thread.
        decoder_ms: part of it inside the image decoder.
    """

    loader: str
    total_ms: float
    decoder_ms: float

    @property
    def samples_per_second(self) -> float:
        """Rate of one process."""
        return 1000 / self.total_ms

    @property
    def outside(self) -> float:
        """Share of the time that is spent outside the decoder."""
        return 1 - self.decoder_ms / self.total_ms
