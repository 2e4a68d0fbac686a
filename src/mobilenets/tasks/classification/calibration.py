"""Honest probabilities and "none of these", fitted on validation images with numpy only.

Temperature: Guo et al. 2017, arXiv:1706.04599. Dividing all logits by one T never changes which label is best.
Threshold: free energy, Liu et al. 2020, arXiv:2010.03759, cut at a split-conformal quantile (Vovk et al. 2005;
Angelopoulos and Bates 2021, arXiv:2107.07511), which holds for any network and any number of images.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ...records import Calibration, Reliability, Split

BINS = 15
"""Equal-width bins of the expected calibration error, as in Guo et al. 2017, section 5."""

KEEP = 0.97
"""Share of familiar images that "none of these" must let through: the threshold's quantile.

95 % is the literature's habit for comparing scores; here a refusal of a good picture is a nuisance to somebody. Digits,
180 images to fit on (tests/tasks/test_none_of_these_digits.py, V1 0.25, medians of eight trainings): 95 % refuses
4 % of fresh digits, 61 % of noise and 76 % of inverted digits; 97 % refuses 2, 42 and 62 %; 98 % refuses 1, 22 and
38 %. One training is far from the next: at 97 % they refused 1 to 6 % of fresh digits and 18 to 67 % of noise.
Fewer than 33 images can't promise 97 %, and get no threshold.
"""

LOG_T_SPREAD = 0.5
"""Standard deviation of log T before any image is seen: T is within 0.37 and 2.7 in 95 of 100 trainings.

Without it a small validation split that is answered without a mistake drives T to 0 and every probability to 1.
"""

LOG_T_RANGE = (math.log(0.05), math.log(20.0))
LARGEST = 5_000_000
"""Logits that the search looks at; of more, every n-th image is taken."""


def softmax(logits: NDArray[np.float64], temperature: float = 1.0) -> NDArray[np.float64]:
    """Probabilities (N, K) of logits (N, K) / temperature."""
    scaled = logits / temperature
    shares = np.exp(scaled - scaled.max(1, keepdims=True))
    return np.asarray(shares / shares.sum(1, keepdims=True))


def energies(logits: NDArray[np.float64], temperature: float = 1.0) -> NDArray[np.float64]:
    """Free energy -T logsumexp(logits / T), float64 (N,), of logits (N, K)."""
    return -temperature * _logsumexp(logits / temperature)


def nll(logits: NDArray[np.float64], targets: NDArray[np.int64], temperature: float) -> float:
    """Mean negative log likelihood of the targets under softmax(logits / temperature), in nats."""
    scaled = logits / temperature
    return float(np.mean(_logsumexp(scaled) - scaled[np.arange(len(targets)), targets]))


def fit_calibration(logits: NDArray[np.float64], targets: NDArray[np.int64], *, split: Split) -> Calibration:
    """Temperature, then the energy threshold at that temperature. Shapes: float64 (N, K), int64 (N,)."""
    if not len(logits):
        return Calibration(split=split)
    temperature = fit_temperature(logits, targets)
    before = reliability(softmax(logits), targets)
    after = reliability(softmax(logits, temperature), targets)
    energy = energies(logits, temperature)
    threshold = fit_threshold(energy)
    return Calibration(
        temperature=temperature,
        energy_threshold=threshold,
        known_kept=1.0 if threshold is None else float(np.mean(energy <= threshold)),
        ece_before=expected_error(before),
        ece_after=expected_error(after),
        images=len(logits),
        split=split,
        bins_before=before,
        bins_after=after,
    )


def fit_temperature(logits: NDArray[np.float64], targets: NDArray[np.int64]) -> float:
    """The T that makes the targets likeliest, held near 1 by a prior that fades as images are added.

    Minimises N * nll(T) + (log T)^2 / (2 LOG_T_SPREAD^2) over T in 0.05..20: a coarse grid over log T, then a golden
    section search around its best point, to 1e-4. At T = 1 the prior costs nothing, so the minimum never has a worse
    likelihood than uncalibrated logits; should the search (which may look at a part of the images) find one that has,
    1 is returned.
    """
    step = -(-logits.size // LARGEST)
    seen, truth = logits[::step], targets[::step]

    def cost(log_t: float) -> float:
        return len(seen) * nll(seen, truth, math.exp(log_t)) + (log_t / LOG_T_SPREAD) ** 2 / 2

    grid = np.linspace(*LOG_T_RANGE, 25)
    best = int(np.argmin([cost(float(u)) for u in grid]))
    low, high = float(grid[max(best - 1, 0)]), float(grid[min(best + 1, len(grid) - 1)])
    temperature = math.exp(_golden_section(cost, low, high))
    return temperature if nll(logits, targets, temperature) <= nll(logits, targets, 1.0) else 1.0


def fit_threshold(energy: NDArray[np.float64], keep: float = KEEP) -> float | None:
    """The energy that a new image of the same kind stays under with probability `keep`; None from too few images.

    It is the ceil((N + 1) * keep)-th smallest of N energies: then the promise holds on average over validation splits,
    whatever the distribution. Where that is more than N, no threshold can promise it.
    """
    rank = math.ceil((len(energy) + 1) * keep)
    return float(np.sort(energy)[rank - 1]) if rank <= len(energy) else None


def reliability(probabilities: NDArray[np.float64], targets: NDArray[np.int64]) -> tuple[Reliability, ...]:
    """BINS bins of equal width over the confidence of the best label; an empty bin has confidence and accuracy 0."""
    confidence, right = probabilities.max(1), probabilities.argmax(1) == targets
    index = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    rows = []
    for i in range(BINS):
        mine = index == i
        count = int(mine.sum())
        mean, share = (float(confidence[mine].mean()), float(right[mine].mean())) if count else (0.0, 0.0)
        rows.append(Reliability(i / BINS, (i + 1) / BINS, count, mean, share))
    return tuple(rows)


def expected_error(bins: tuple[Reliability, ...]) -> float:
    """Expected calibration error: the mean gap of confidence and accuracy over the bins, weighted by their images."""
    images = sum(row.images for row in bins)
    return sum(row.images * abs(row.confidence - row.accuracy) for row in bins) / images if images else 0.0


def _logsumexp(values: NDArray[np.float64]) -> NDArray[np.float64]:
    top = values.max(1)
    return np.asarray(top + np.log(np.exp(values - top[:, None]).sum(1)))


def _golden_section(cost: Callable[[float], float], low: float, high: float, tolerance: float = 1e-4) -> float:
    """The point of low..high where `cost`, falling then rising there, is least."""
    ratio = (math.sqrt(5.0) - 1.0) / 2.0
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = cost(left), cost(right)
    while high - low > tolerance:
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = cost(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = cost(right)
    return (low + high) / 2.0
