"""Every random choice is a function of (seed, what, when, where), never of what was drawn before."""

import zlib

import numpy as np


def derive_seed(seed: int, *words: int | str) -> int:
    """A 63-bit seed for one random choice, independent of every other.

    Args:
        seed: the seed of the run.
        words: what the choice is for and where it stands, for example `("augment", position)`.
    """
    numbers = [zlib.crc32(word.encode()) if isinstance(word, str) else word for word in words]
    return int(np.random.SeedSequence([seed, *numbers]).generate_state(1, np.uint64)[0] >> np.uint64(1))
