"""The trained network of a model file, as the reference that exported files are held against. Needs torch."""

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..bundle import Golden, ModelFile, choose_golden, make_golden, synthetic_images
from ..bundle.golden import GOLDEN_IMAGES
from ..errors import MissingRuntime
from ..records import Calibration, Labels, Preprocess
from ..tasks import decoding, task
from ..tasks.interface import Outputs
from .targets import has_module

if TYPE_CHECKING:
    from torch import nn

    from ..data import Sample

Arrays = tuple[NDArray[Any], ...]
Run = Callable[[NDArray[Any]], Arrays]
BATCH = 16


def as_arrays(outputs: Outputs) -> Arrays:
    """A network's outputs as a tuple, also where it has one output and hands over the bare array."""
    return tuple(np.asarray(output) for output in outputs) if isinstance(outputs, (tuple, list)) else (outputs,)


def as_outputs(arrays: Sequence[NDArray[Any]]) -> Outputs:
    """The form in which a task's decoding takes outputs: the bare array where there is one."""
    return arrays[0] if len(arrays) == 1 else tuple(arrays)


def trained_network(model: ModelFile) -> "nn.Module":
    """The network with the weights of the model file, in eval mode on the CPU.

    Raises: MissingRuntime without torch; CheckpointMismatch where the weights do not fit the spec.
    """
    require_torch("the trained network")
    from ..models import load_exact

    network = task(model.record.task).build(model.record.spec, model.record.labels)
    load_exact(network, model.weights())
    return network.eval()


def runner(network: "nn.Module") -> Run:
    """The network as a function of arrays: eval mode, no gradients, float32, on the device where it is.

    Runs batches of at most 16, so that memory does not grow with what it is given. The network's mode is restored.
    """
    import torch

    def run(inputs: NDArray[Any]) -> Arrays:
        was_training = network.training
        device = next(network.parameters()).device
        network.eval()
        try:
            with torch.inference_mode():
                parts = [
                    as_arrays(_to_numpy(network(torch.from_numpy(inputs[i : i + BATCH]).to(device))))
                    for i in range(0, len(inputs), BATCH)
                ]
        finally:
            network.train(was_training)
        return tuple(np.concatenate(columns) for columns in zip(*parts, strict=True))

    return run


def golden_vectors(
    network: "nn.Module",
    preprocess: Preprocess,
    *,
    task: str,
    labels: Labels,
    calibration: Calibration,
    samples: Iterable["Sample"],
    photos: bool = True,
) -> Golden:
    """The golden vectors of a trained network: 16 pictures of `samples` (all of them if fewer), or synthetic ones.

    samples: of the validation split, targets in the order of `labels`. photos: False keeps the user's pictures out.
    Raises: BadData where no picture can be read.
    """
    import torch

    # Convolutions on a GPU round to TF32, 1e-3 off: what the runtimes are held against is float32 on the CPU.
    reference = copy.deepcopy(network).to("cpu", torch.float32)
    pictures: list[tuple[str, bytes, str | None]]
    if photos:
        chosen = choose_golden(samples)
        pictures = [(s.file.name, s.file.read_bytes(), labels.ids[s.target]) for s in chosen]
    else:
        made = synthetic_images(GOLDEN_IMAGES, size_px=preprocess.size_px)
        pictures = [(suffix, data, None) for suffix, data in made]
    return make_golden(
        pictures,
        preprocess,
        kind="photos" if photos else "synthetic",
        output_names=decoding(task).output_names,
        run=runner(reference),
        answer=lambda outputs: answers(outputs, task=task, labels=labels, calibration=calibration),
    )


def answers(
    outputs: Sequence[NDArray[Any]], *, task: str, labels: Labels, calibration: Calibration
) -> tuple[dict[str, object], ...]:
    """What outputs say, one best label each, as plain JSON values.

    Without the threshold of "none of these": it was set at the energy of a validation picture, so that the last digit
    of that one's logits would decide.
    """
    results = decoding(task).decode(
        as_outputs(outputs), labels=labels, calibration=replace(calibration, energy_threshold=None), top=1
    )
    return tuple(result.as_dict("") for result in results)


def require_torch(what: str) -> None:
    """Raises MissingRuntime with its install line where torch can't be found."""
    if not has_module("torch"):
        raise MissingRuntime.extra(f"{what} needs torch, which", "train")


def _to_numpy(outputs: Any) -> Outputs:
    """Tensors as float32 arrays."""
    if isinstance(outputs, (tuple, list)):
        return tuple(output.float().cpu().numpy() for output in outputs)
    return outputs.float().cpu().numpy()
