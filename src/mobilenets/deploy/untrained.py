"""Networks exported without training, to be timed: speed does not depend on what was learnt. Needs torch."""

from pathlib import Path
from typing import TYPE_CHECKING

from ..records import Calibration, Labels, Preprocess
from ..specs import Spec
from .embedded import Embedded
from .targets import Target
from .tracing import Source
from .trained import require_torch

if TYPE_CHECKING:
    from torch import nn

TASK = "classification"


def untrained_source(spec: Spec, *, seed: int = 0) -> Source:
    """A freshly initialised classifier of `spec`, its batch-norm statistics filled, for any number of exports.

    Raises: MissingRuntime without torch; UsageError for a network without classes.
    """
    require_torch("a network that is timed by name")
    import torch

    from ..tasks import decoding, task

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = task(TASK).build(spec, _labels(spec))
        fill_statistics(network, spec, seed=seed)
    return Source(network, spec.name, decoding(TASK).output_names, spec.in_channels, spec.resolution_px)


def export_untrained(
    spec: Spec,
    path: Path,
    *,
    target: Target,
    precision: str = "float32",
    seed: int = 0,
    source: Source | None = None,
) -> None:
    """Write an untrained classifier of `spec` as a file of `target`.

    source: from `untrained_source`, where one network serves several targets or precisions.
    Raises: MissingRuntime without torch; UsageError for a network that the target can't express or without classes.
    """
    source = untrained_source(spec, seed=seed) if source is None else source
    facts = Embedded(
        name=f"{spec.name}, untrained",
        network=spec.name,
        task=TASK,
        output_names=source.output_names,
        labels=_labels(spec),
        preprocess=Preprocess(
            spec.resolution_px,
            mean=(0.5,) * spec.in_channels,
            std=(0.5,) * spec.in_channels,
            colour="grey" if spec.in_channels == 1 else "rgb",
        ),
        calibration=Calibration(),
        precision=precision,
        weights_sha256="",
    )
    target.export(source, path, facts=facts)


def _labels(spec: Spec) -> Labels:
    return Labels(tuple(f"class {index}" for index in range(spec.classes)))


def fill_statistics(network: "nn.Module", spec: Spec, *, seed: int = 0, images: int = 4) -> None:
    """Set every batch norm's statistics from one batch of noise, and leave the network in eval mode.

    Freshly initialised they are 0 and 1, so that activations fade to nothing with depth: a network in which every
    answer is the same, and slow where numbers become denormal.
    """
    import torch

    norms = [module for module in network.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    noise = torch.randn((images, spec.in_channels, *spec.resolution_px), generator=torch.Generator().manual_seed(seed))
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's sign for the plain mean over all batches seen
    network.train()
    with torch.no_grad():
        network(noise)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()
