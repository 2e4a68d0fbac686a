"""A linear probe as the start of training: the classifier fitted to the frozen network's embeddings before step one.

Multinomial logistic regression with an L2 penalty whose strength is chosen by cross-validation on the training
pictures. Fine-tuning that begins with a random head first pulls the pretrained features towards it (Kumar et al. 2022,
arXiv:2202.10054); one that begins here starts from what the features give as they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ..data import Pictures
from ..errors import UsageError
from ..models import Network
from ..records import Preprocess
from .draws import Use, generator
from .outputs import HeldOut

STRENGTHS = (0.01, 0.1, 1.0, 10.0)
"""The weight of the pictures' summed loss against half the squared weights, for embeddings of unit variance."""
USUAL = 0.01
"""Where no class has two pictures that could be held out against one another."""
FOLDS = 3
MOST_PICTURES = 20_000
"""Drawn without replacement where there are more; the embedding of each is computed once or twice."""
MOST_VALIDATED = 4_000
STEPS, VALIDATED_STEPS = 100, 30
"""Of L-BFGS. On 648 photos of 81 classes every strength gives the same top-1 to two points, and so do 30 steps."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What was fitted. pictures: training pictures; strength: see STRENGTHS; top1: of cross-validation, NaN without."""

    pictures: int
    strength: float
    top1: float


def fit_head(
    network: nn.Module, pictures: Pictures, record: Preprocess, *, seed: int, batch: int, mirrored: bool
) -> Probe:
    """Fit the classifier of `network` to the embeddings of `pictures`, as deployment will see them.

    mirrored: the pictures' mirror images count as pictures too. The network is left in eval mode.
    Raises: UsageError for a network without embedding and linear classifier.
    """
    if not isinstance(network, Network) or not isinstance(network.classifier, nn.Linear):
        raise UsageError("a fitted head needs a network with an embedding and a linear classifier")
    rows = generator(seed, Use.PROBE).permutation(len(pictures))[:MOST_PICTURES]
    held = HeldOut([pictures.samples[r] for r in rows], record, decoded=[pictures[r] for r in rows])
    views = embeddings(network, held, batch=batch, mirrored=mirrored)
    targets = torch.from_numpy(pictures.targets[rows])
    mean, scale = views.mean((0, 1)), views.std().clamp_min(1e-6)
    views = (views - mean) / scale
    strength, top1 = chosen_strength(views[0], targets, classes=network.classifier.out_features)
    weight, bias = logistic_regression(
        views.flatten(0, 1), targets.repeat(len(views)), classes=network.classifier.out_features,
        strength=strength / len(views),
    )  # fmt: skip
    with torch.no_grad():
        network.classifier.weight.copy_(weight / scale)
        network.classifier.bias.copy_(bias - weight @ (mean / scale))
    return Probe(len(rows), strength, top1)


def embeddings(network: Network, pictures: HeldOut, *, batch: int, mirrored: bool) -> Tensor:
    """float32 (V, N, D) on the CPU: V is 2 with mirror images, else 1."""
    network.eval()
    device = next(network.parameters()).device
    found: list[Tensor] = []
    with torch.inference_mode():
        for images, _ in pictures.batches(batch):
            shown = images.to(device).contiguous(memory_format=torch.channels_last)
            views = [network.embed(view) for view in ([shown, shown.flip(3)] if mirrored else [shown])]
            found.append(torch.stack(views).float().cpu())
    return torch.cat(found, dim=1).clone()


def chosen_strength(features: Tensor, targets: Tensor, *, classes: int) -> tuple[float, float]:
    """The smallest strength whose top-1 on held-out folds lies within a standard error of the best one's, and that
    top-1 (NaN where nothing can be held out). Source of the rule: Breiman et al. 1984, Classification and Regression
    Trees, section 3.4.3. What is held out often resembles what is not (photos of one shelf), new pictures do less:
    the smoother fit is the safer one.

    Shapes: features float32 (N, D), targets int64 (N,).
    """
    features, targets = features[:MOST_VALIDATED], targets[:MOST_VALIDATED]
    fold = torch.from_numpy(folds(targets.numpy()))
    count = int((fold >= 0).sum())
    if not count:
        return USUAL, float("nan")
    right = np.zeros(len(STRENGTHS))
    for held in range(FOLDS):
        out = fold == held
        start: tuple[Tensor, Tensor] | None = None
        for place, strength in enumerate(STRENGTHS):  # from weak to strong, each begins where the last one ended
            start = logistic_regression(
                features[~out], targets[~out], classes=classes, strength=strength, start=start, steps=VALIDATED_STEPS
            )
            right[place] += float((functional.linear(features[out], *start).argmax(1) == targets[out]).sum())
    top1 = right / count
    error = np.sqrt(top1.max() * (1.0 - top1.max()) / count)
    chosen = int(np.flatnonzero(top1 >= top1.max() - error)[0])
    return STRENGTHS[chosen], float(top1[chosen])


def folds(targets: NDArray[np.int64]) -> NDArray[np.int64]:
    """The fold (0 .. FOLDS - 1) in which each picture is held out, -1 for never: int64 (N,)."""
    found = np.full(len(targets), -1)
    for target in np.unique(targets):
        members = np.flatnonzero(targets == target)
        if len(members) > 1:
            found[members] = np.arange(len(members)) % FOLDS
    return found


def logistic_regression(
    features: Tensor,
    targets: Tensor,
    *,
    classes: int,
    strength: float,
    start: Sequence[Tensor] | None = None,
    steps: int = STEPS,
) -> tuple[Tensor, Tensor]:
    """Weight (K, D) and bias (K,) that minimise strength * sum of cross-entropies + half the squared weights.

    By L-BFGS over all pictures at once. Shapes: features float32 (N, D), targets int64 (N,).
    """
    if start is None:
        start = torch.zeros(classes, features.shape[1]), torch.zeros(classes)
    weight, bias = (tensor.clone().requires_grad_() for tensor in start)
    solver = torch.optim.LBFGS([weight, bias], max_iter=steps, tolerance_grad=1e-5, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        solver.zero_grad()
        data = functional.cross_entropy(functional.linear(features, weight, bias), targets)
        loss = data + weight.square().sum() / (2.0 * strength * len(features))
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    solver.step(closure)  # type: ignore[no-untyped-call]
    return weight.detach(), bias.detach()
