"""Imports of a process that starts, without looking for garbage meanwhile.

Torch, diffusers and what they bring are half a million objects that stay. Python's collector walks
through them again and again while they come, and finds next to nothing: a rank of training spends a
fifth of its start on it, and later as much in each full collection. The trade-off: what is in
memory when the imports are done is never collected, garbage in cycles included.
"""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def lasting_imports() -> Iterator[None]:
    """What is made in this block stays for the life of the process."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
