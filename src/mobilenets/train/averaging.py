"""The exponential moving average of a network's weights and statistics: what is evaluated, saved and deployed."""

import copy

import torch
from torch import Tensor, nn


class Averaged:
    """A second network that follows the trained one.

    After step s (0, 1, ...) it moves to the trained one by 1 - min(decay, (1 + s) / (10 + s)): short runs average over
    their last tenth, long ones over 1 / (1 - decay) steps. Batch-norm statistics are averaged the same way; counters
    are copied. Source of the warm-up: tf.train.ExponentialMovingAverage(num_updates).

    decay None: `network` itself is what is evaluated.
    """

    def __init__(self, network: nn.Module, decay: float | None) -> None:
        self.decay = decay
        self.network = network if decay is None else copy.deepcopy(network).requires_grad_(False).eval()
        source, own = _tensors(network), _tensors(self.network)
        moving = [key for key, value in source.items() if value.is_floating_point()]
        self._source, self._own = [source[key] for key in moving], [own[key] for key in moving]
        self._counters = [(own[key], source[key]) for key in source.keys() - set(moving)]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights as they are after step `step`."""
        if self.decay is None:
            return
        weight = 1.0 - min(self.decay, (1.0 + step) / (10.0 + step))
        torch._foreach_lerp_(self._own, self._source, weight)
        for own, source in self._counters:
            own.copy_(source)


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers themselves (a state dict's are detached, and share memory all the same)."""
    return {key: value.detach() for key, value in network.state_dict(keep_vars=True).items()}
