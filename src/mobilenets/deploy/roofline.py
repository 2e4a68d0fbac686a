"""What this machine can do at most, measured: multiply-adds a second, and bytes a second.

The roofline of Williams, Waterman and Patterson 2009 (doi:10.1145/1498765.1498785): an operator takes at least as long
as its multiply-adds at the one rate and its bytes at the other.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

import numpy as np

from ..records import Roofline
from .onnx import session_options

# A graph of one operator, c = a @ b of any sizes in float32, as `onnx.helper` writes it (opset 17, IR 8).
_PRODUCT = bytes.fromhex(
    "08083a5e0a110a01610a016212016322064d61744d756c12047065616b5a150a016112100a0e0801120a0a0312014d0a0312014b5a150a0162"
    "12100a0e0801120a0a0312014b0a0312014e62150a016312100a0e0801120a0a0312014d0a0312014e42040a001011"
)
SIDE = 768
REPEATS = 9
COPIED_MB = 200.0
"""How much one timing of the copy moves: enough to be timed well, whatever the buffer."""


def measure_roofline(*, threads: int = 1, working_set_mb: float) -> Roofline:
    """The two peaks for `threads`, each the best of `REPEATS`; about half a second.

    working_set_mb: size of the buffer that is copied. Taken about as large as what a network keeps alive, it lies in
    the same cache as that, whose speed is what counts: copies in main memory are slower.
    """
    return Roofline(_gmacs_per_s(threads), _gb_per_s(threads, working_set_mb), working_set_mb, threads)


def _gmacs_per_s(threads: int) -> float:
    import onnxruntime

    runtime = onnxruntime.InferenceSession(_PRODUCT, session_options(threads), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    feed = {name: rng.random((SIDE, SIDE), np.float32) for name in ("a", "b")}
    runtime.run(None, feed)
    return SIDE**3 / 1e9 / min(_timed(lambda: runtime.run(None, feed)) for _ in range(REPEATS))


def _gb_per_s(threads: int, working_set_mb: float) -> float:
    """numpy copies without Python's lock: each thread its own part of the buffer, half of it source, half goal."""
    numbers = max(1024, int(working_set_mb * 1e6 / 8 / threads))
    parts = [(np.ones(numbers, np.float32), np.zeros(numbers, np.float32)) for _ in range(threads)]
    times = max(1, round(COPIED_MB * 1e6 / (8 * numbers * threads)))

    def copy(part: tuple[np.ndarray, np.ndarray]) -> None:
        for _ in range(times):
            np.copyto(part[1], part[0])

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(copy, parts))
        best = min(_timed(lambda: list(pool.map(copy, parts))) for _ in range(REPEATS))
    return 8 * numbers * threads * times / 1e9 / best


def _timed(work: Callable[[], object]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start
