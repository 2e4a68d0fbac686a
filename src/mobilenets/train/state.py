"""The state of a run between two steps as one file, `resume.safetensors`: tensors, and all else as JSON in its header.

One file is written whole or not at all, so weights, optimizer, averages and counters always belong together. Nothing
is pickled. Weights are saved in plain NCHW order, whatever they are trained in.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..codec import from_json, to_json
from ..errors import BadData, CheckpointMismatch
from ..files import replacing
from ..records import EpochRow
from .averaging import Averaged
from .optimizers import load_optimizer, optimizer_arrays
from .plan import Plan
from .step import Compute, TrainStep

TINY = 1e-20
"""Weights smaller than this are saved as 0: decay leaves denormal numbers behind that make inference several times
slower (pytorch#24950), and next to weights of 1e-3 nothing can tell them from 0."""
HEADER = "mobilenets"


@dataclass(frozen=True, slots=True)
class Scaler:
    """What torch's GradScaler remembers."""

    scale: float
    growth_tracker: int


@dataclass(frozen=True, slots=True)
class Progress:
    """All of a run's state that is no tensor. step: steps done. loss_sum, images: of the epoch under way."""

    step: int
    plan: Plan
    compute: Compute
    elapsed_s: float
    loss_sum: float
    loss_steps: int
    history: tuple[EpochRow, ...]
    notes: tuple[str, ...]
    threads: int
    step_s: tuple[float, ...]
    evaluation_s: float
    closing_s: float
    scaler: Scaler | None = None
    torch_version: str = ""


def save_progress(
    path: Path, progress: Progress, *, step: TrainStep, averaged: Averaged, recent: Mapping[str, Tensor]
) -> None:
    """Write the state. recent: outputs and truth of the last training images of the epoch (the training metric)."""
    tensors = {f"network/{key}": value for key, value in step.network.state_dict().items()}
    if averaged.decay is not None:
        tensors |= {f"averaged/{key}": value for key, value in averaged.network.state_dict().items()}
    tensors |= {f"optimizer/{key}": value for key, value in optimizer_arrays(step.optimizer).items()}
    tensors |= {f"recent/{key}": value for key, value in recent.items()}
    save_tensors(path, tensors, header=to_json(progress, indent=None))


def load_progress(path: Path, *, step: TrainStep, averaged: Averaged) -> dict[str, Tensor]:
    """Put the tensors of a state back where they were; gives the recent ones. Raises CheckpointMismatch."""
    tensors = load_tensors(path)
    parts: dict[str, dict[str, Tensor]] = {"network": {}, "averaged": {}, "optimizer": {}, "recent": {}}
    for key, value in tensors.items():
        room, _, name = key.partition("/")
        parts[room][name] = value
    load_weights(step.network, parts["network"])
    if averaged.decay is not None:
        load_weights(averaged.network, parts["averaged"])
    load_optimizer(step.optimizer, parts["optimizer"])
    return parts["recent"]


def read_progress(path: Path) -> Progress:
    """The part of a state that is no tensor. Raises BadData for a file that is none."""
    return from_json(Progress, read_header(path), where=str(path))


def is_finite(network: nn.Module) -> bool:
    """Whether no weight and no statistic is a NaN or an infinity."""
    tensors = [t for t in network.state_dict().values() if t.is_floating_point()]
    return bool(torch.isfinite(torch.stack(torch._foreach_norm(tensors))).all())


def save_weights(path: Path, network: nn.Module, *, header: str) -> None:
    """Parameters and buffers, tiny parameters as 0, with `header` (JSON)."""
    parameters = {name for name, _ in network.named_parameters()}
    tensors = {
        key: torch.where(value.abs() < TINY, 0.0, value) if key in parameters else value
        for key, value in network.state_dict().items()
    }
    save_tensors(path, tensors, header=header)


def load_weights(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy tensors into parameters and buffers of the same names. Raises CheckpointMismatch at the first other one."""
    own = network.state_dict()
    want, have = ({k: tuple(v.shape) for k, v in side.items()} for side in (own, tensors))
    for key in sorted(want.keys() | have.keys()):
        if want.get(key) != have.get(key):
            raise CheckpointMismatch(f"{key}: the network wants {want.get(key)}, the file has {have.get(key)}")
    with torch.no_grad():
        for key, value in own.items():
            value.copy_(tensors[key])


def save_tensors(path: Path, tensors: Mapping[str, Tensor], *, header: str) -> None:
    """Write tensors and a header as one safetensors file, whole or not at all."""
    plain = {key: value.detach().to("cpu", copy=True).contiguous() for key, value in tensors.items()}
    with replacing(path) as temporary:
        save_file(plain, temporary, metadata={HEADER: header})


def load_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file. Raises BadData where it is missing or damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  a handle, not a dict
    except (OSError, SafetensorError) as error:
        raise BadData(f"{path}: can't be read as safetensors: {error}") from error


def read_header(path: Path) -> str:
    """The JSON text that `save_tensors` put beside the tensors. Raises BadData where there is none."""
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(HEADER)
    except (OSError, SafetensorError) as error:
        raise BadData(f"{path}: can't be read as safetensors: {error}") from error
    if text is None:
        raise BadData(f"{path}: was not written by a training run of this library")
    return str(text)
