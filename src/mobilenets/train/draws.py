"""Every random number of a run, derived from its seed and its place: nothing is drawn from a running stream.

So a batch is a pure function of (seed, epoch, step in the epoch), whichever thread, process or resumed run makes it,
and place i of the global batch gets the same augmentation however the batch is divided.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Use(IntEnum):
    """What a generator is for: the same place gives independent numbers for each use."""

    ORDER = 0
    PICTURES = 1
    PAIRS = 2
    LAYERS = 3
    SAMPLE = 4
    PROBE = 5


def generator(seed: int, use: Use, *place: int) -> np.random.Generator:
    """The generator of one use at one place, e.g. (epoch, step)."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, int(use), *place])))


def layer_seed(seed: int, step: int, part: int) -> int:
    """What torch's generator is set to before a part (process x micro-batch) of a step, for dropout and drop path."""
    return int(np.random.SeedSequence([seed, int(Use.LAYERS), step, part]).generate_state(1, np.uint64)[0] >> 1)


def epoch_order(seed: int, epoch: int, *, count: int, class_of: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """The order in which an epoch shows `count` images: int64 (count,) of indices.

    class_of: int64 (count,). Where given, images are drawn so that each class that has any is seen equally often (to
    one image), its pictures in turn, the ones of small classes several times; else each image is seen once.
    """
    random = generator(seed, Use.ORDER, epoch)
    if class_of is None:
        return random.permutation(count)
    members = [np.flatnonzero(class_of == k) for k in np.unique(class_of)]
    share, rest = divmod(count, len(members))
    more = set(random.permutation(len(members))[:rest].tolist())
    drawn = []
    for place, indices in enumerate(members):
        wanted = share + (place in more)
        rounds = -(-wanted // len(indices))
        drawn.append(np.concatenate([random.permutation(indices) for _ in range(rounds)])[:wanted])
    return random.permutation(np.concatenate(drawn))


def class_weights(counts: NDArray[np.int64]) -> NDArray[np.float32]:
    """Weights for the loss, 1 / images of the class, scaled so that their mean over the images is 1; 1 for a class
    without images. Shapes: int64 (K,) -> float32 (K,)."""
    present = counts > 0
    weights = np.ones(len(counts), np.float64)
    weights[present] = counts.sum() / (present.sum() * counts[present])
    return weights.astype(np.float32)
