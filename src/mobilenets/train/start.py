"""The weights that training began with, mixed into those that it ended with, as far as val says.

Between a linear probe and the fine-tuned network lies a straight line of networks; a point on it is seldom worse than
either end and often better than both. Source: Wortsman et al. 2022, arXiv:2109.01903 (WiSE-FT), and its section on
choosing the point.
"""

import copy
import math
from pathlib import Path

from torch import Tensor, nn

from .run_folder import Best
from .session import Session
from .state import load_tensors, load_weights


def settle_share(session: Session, network: nn.Module, trained: Best) -> Best:
    """Put into `network` the mixture of the start and the best trained weights that val likes best; keep it as best."""
    material, folder, shares = session.material, session.folder, session.recipe.start_shares
    ends = load_tensors(folder.start), load_tensors(folder.best)
    judged: dict[float, Best] = {}
    for share in shares:
        load_weights(network, mixed(*ends, share))
        loss, metric = material.judge(network, material.held_out)
        judged[share] = Best(trained.epoch, trained.step, metric, loss)
    share = chosen_share(judged, images=material.val_images)
    load_weights(network, mixed(*ends, share))
    session.world.agreed(False)  # all have read before the leading process writes
    folder.keep(folder.best, network, judged[share])
    name = material.judge.task.metric
    told = ", ".join(f"{s:g}: {best.metric:.4f}" for s, best in sorted(judged.items()))
    session.notes.append(f"weights: {1 - share:g} trained + {share:g} of the start ({name} on val by share {told})")
    return judged[share]


def chosen_share(judged: dict[float, Best], *, images: int) -> float:
    """The share with the smallest loss on val among those whose metric lies within a standard error of the best one's.

    Neighbours on the line differ by a few of val's pictures, which is chance where these are few; the loss is not so
    coarse, but alone it would prefer the less sure to the more right. Without pictures in val: the first share.
    """
    if not images:
        return next(iter(judged))
    best = max(found.metric for found in judged.values())
    error = math.sqrt(max(0.0, best * (1.0 - best)) / images)
    close = [share for share, found in judged.items() if found.metric >= best - error]
    return min(close, key=lambda share: judged[share].val_loss)


def mixed(start: dict[str, Tensor], trained: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """`share` of the start and the rest of the trained weights and statistics; counters are the latter's."""
    return {
        key: value if share == 0.0 or not value.is_floating_point() else value.lerp(start[key], share)
        for key, value in trained.items()
    }


def start_weights(run: Path, network: nn.Module) -> nn.Module | None:
    """A copy of `network` with the weights that the run in `run` began with; None where it kept none."""
    file = run / "start.safetensors"
    if not file.is_file():
        return None
    own = copy.deepcopy(network)
    load_weights(own, load_tensors(file))
    return own.eval()
