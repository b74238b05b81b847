"""Randomness that is looked up, not run: every draw is a function of (seed, purpose, place).

A run may start at any step, on any number of ranks and workers, and draws what an undisturbed run
would have drawn, because nothing remembers what was drawn before. Numbers are made here from the
raw words of Philox, whose stream NumPy promises never to change, while it may improve its
distributions. The trade-off: a few microseconds for a fresh generator at every place.
"""

import enum

import numpy as np
import numpy.typing as npt

_WORD = 1 << 64
_ROUNDS = 8


class Purpose(enum.IntEnum):
    """What is drawn: different purposes are independent of each other at the same place."""

    BATCH_ORDER = 1
    SAMPLE_ORDER = 2
    REPLACEMENT = 3
    WINDOW = 4
    MASK = 5
    POSITION = 6
    TEXT = 7
    NOISE = 8
    TIME = 9
    ANCHORS = 10
    DROPOUT = 11
    VIEW = 12


class Draws:
    """A stream of draws that belongs to one place.

    Args:
        seed: of the run, at least 0.
        purpose: what is drawn.
        place: up to three numbers, e.g. micro-batch and row.
    """

    def __init__(self, seed: int, purpose: Purpose, *place: int) -> None:
        # The stream counts in the first word of the counter, so no two places ever overlap.
        counter = np.zeros(4, np.uint64)
        counter[1 : 1 + len(place)] = place
        self._bits = np.random.Philox(key=np.array([seed, purpose], np.uint64), counter=counter)

    def word(self) -> int:
        """64 random bits."""
        return int(self._bits.random_raw())

    def uniform(self) -> float:
        """A number in [0, 1)."""
        return (self.word() >> 11) * 2.0**-53

    def below(self, count: int) -> int:
        """A whole number in [0, count)."""
        assert 0 < count < _WORD
        return self.word() * count >> 64

    def subset(self, chosen: int, count: int) -> npt.NDArray[np.intp]:
        """Which `chosen` of `count` things, ascending; every subset is equally likely."""
        assert 0 <= chosen <= count
        order = np.argsort(self._bits.random_raw(count), kind="stable")
        return np.sort(order[:chosen])


class Permutation:
    """A random order of 0 … size-1 that is computed and not stored.

    A Feistel network over the smallest 4^k that holds `size`, walked until it lands inside (Black
    and Rogaway, "Ciphers with arbitrary finite domains", 2002): less than four walks on average,
    the same microseconds for three samples as for three billion.
    """

    def __init__(self, size: int, draws: Draws) -> None:
        assert size > 0
        self.size = size
        self._half = max(1, ((size - 1).bit_length() + 1) // 2)
        self._keys = [draws.word() for _ in range(_ROUNDS)]

    def __getitem__(self, position: int) -> int:
        """What stands at a position."""
        assert 0 <= position < self.size
        while True:
            position = self._scrambled(position)
            if position < self.size:
                return position

    def _scrambled(self, value: int) -> int:
        mask = (1 << self._half) - 1
        left, right = value >> self._half, value & mask
        for key in self._keys:
            left, right = right, left ^ (_mixed(right + key) & mask)
        return left << self._half | right


def _mixed(value: int) -> int:
    """The finaliser of SplitMix64: every bit of the result depends on all bits of the value."""
    value %= _WORD
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 % _WORD
    value = (value ^ value >> 27) * 0x94D049BB133111EB % _WORD
    return value ^ value >> 31
