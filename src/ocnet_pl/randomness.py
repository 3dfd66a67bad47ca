"""Random seeds: every random choice depends on the seed and its own place, never on earlier draws."""

import zlib

import numpy as np


def derive_seed(seed: int, *words: int | str) -> int:
    """Seed of 63 bits for one random choice, independent of all others.

    Args:
        seed: seed of the run.
        words: purpose and place of the choice, e.g. `("augment", position)`.
    """
    numbers = [zlib.crc32(word.encode()) if isinstance(word, str) else word for word in words]
    return int(np.random.SeedSequence([seed, *numbers]).generate_state(1, np.uint64)[0] >> np.uint64(1))
