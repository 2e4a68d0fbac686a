"""Whether a session can take a batch: one question and one refusal, the same for all runtimes."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BadData


def check_batch(
    batch: NDArray[np.generic], shape: tuple[int | None, ...], dtype: np.dtype[Any], *, where: Path
) -> None:
    """Raises BadData for an empty batch, or one of another type or shape than the file at `where` takes.

    shape: what it takes, batch first; None where any length will do.
    """
    fits = len(batch.shape) == len(shape) and all(
        want in (None, have) for want, have in zip(shape, batch.shape, strict=True)
    )
    if not fits or batch.dtype != dtype or 0 in batch.shape:
        words = ", ".join("N" if side is None else str(side) for side in shape)
        raise BadData(f"{where}: takes {dtype} ({words}), got {batch.dtype} {batch.shape}")
