"""One classified image as a checked value, and its picture with the answer written under it."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...errors import UsageError

NONE_OF_THESE = "none of these"


@dataclass(frozen=True, slots=True)
class Classification:
    """The answer about one image.

    label: the best label, or None for "none of these" (the image is too unlike what the network was trained on).
    top: (label, probability) of the best labels, falling; there also where `label` is None.
    names: the display names of `top`, in its order.
    energy: free energy -T logsumexp(logits / T); the lower, the more familiar (Liu et al. 2020, arXiv:2010.03759).

    Raises: UsageError at construction where the fields contradict each other.
    """

    label: str | None
    top: tuple[tuple[str, float], ...]
    names: tuple[str, ...]
    energy: float

    def __post_init__(self) -> None:
        if not self.top or len(self.names) != len(self.top):
            raise UsageError(f"classification: {len(self.top)} labels with {len(self.names)} names; want one or more")
        shares = [probability for _, probability in self.top]
        if not all(0.0 <= share <= 1.0 for share in shares) or sorted(shares, reverse=True) != shares:
            raise UsageError(f"classification: probabilities must fall within 0..1, not {shares}")
        if self.label is not None and self.label != self.top[0][0]:
            raise UsageError(f"classification: label {self.label!r} is not the best one, {self.top[0][0]!r}")
        if not math.isfinite(self.energy):
            raise UsageError(f"classification: energy must be finite, not {self.energy}")

    @property
    def known(self) -> bool:
        """False for "none of these"."""
        return self.label is not None

    @property
    def name(self) -> str:
        """The display name of the answer, or "none of these"."""
        return self.names[0] if self.known else NONE_OF_THESE

    @property
    def probability(self) -> float:
        """The calibrated probability of the best label, in 0..1, given that it is one of the labels."""
        return self.top[0][1]

    def as_dict(self, file: str) -> dict[str, object]:
        """The keys that `predict --json` prints: label and name are None for "none of these"."""
        return {
            "file": file,
            "label": self.label,
            "name": self.name if self.known else None,
            "probability": self.probability,
            "top": [[label, probability] for label, probability in self.top],
        }

    def draw(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The picture with the answer in a bar under it: see picture.py. uint8 (H, W, 3) -> uint8 (H', W', 3)."""
        from .picture import draw_answer

        return draw_answer(image, self)
