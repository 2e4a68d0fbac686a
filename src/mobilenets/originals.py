"""A published file run by the runtime it was made for: what an import is held against. Floor 6, used by importing.py.

One row per format; runtimes are imported when they are asked for, and one that is missing is an answer, not an error.
"""

import importlib.util
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .deploy.litert.file import hushed
from .errors import BadData, UsageError
from .models.weights.read import Read

Floats = NDArray[np.float32]


class CannotRun(BadData):
    """The runtime is here and refuses the file: there is nothing to compare with, in its own words."""


@dataclass(frozen=True, slots=True, eq=False)
class Original:
    """An opened original. run: float32 (N, C, h, w), preprocessed, and tensor names -> those tensors.

    The network's answer is asked for as the name "" and comes as (N, K): logits, or probabilities where the file ends
    in a softmax. Maps come as (N, C, h, w). Whatever the file is fed (bytes, channels last) is this object's business.
    """

    runtime: str
    run: Callable[[Floats, Sequence[str]], dict[str, Floats]]


@dataclass(frozen=True, slots=True)
class Runtime:
    """title: what it is called. module, extra: what must be installed. open: reads a file."""

    title: str
    module: str
    extra: str
    open: Callable[[Path, Read], Original]


def missing(runtime: Runtime) -> str:
    """Why the runtime can't be used here; empty where it can."""
    if importlib.util.find_spec(runtime.module) is not None:
        return ""
    return f"{runtime.title} is not installed (pip install 'mobilenets[{runtime.extra}]')"


def _open_tflite(path: Path, read: Read) -> Original:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    def opened(*, inner: bool) -> Any:
        """With inner tensors kept, no delegate may fuse operators."""
        plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES if inner else OpResolverType.AUTO
        with hushed():
            made = Interpreter(
                model_path=str(path), num_threads=1, experimental_op_resolver_type=plain,
                experimental_preserve_all_tensors=inner,
            )  # fmt: skip
            made.allocate_tensors()
        return made

    def run(pictures: Floats, names: Sequence[str]) -> dict[str, Floats]:
        try:
            interpreter = opened(inner=any(names))
            by_name = {detail["name"]: detail for detail in interpreter.get_tensor_details()}
            fed = interpreter.get_input_details()[0]
            parts: dict[str, list[Floats]] = {name: [] for name in names}
            for picture in pictures:
                interpreter.set_tensor(fed["index"], _quantised(picture.transpose(1, 2, 0)[None], fed))
                interpreter.invoke()
                for name in names:
                    detail = by_name[name] if name else interpreter.get_output_details()[0]
                    parts[name].append(_channels_first(_real(interpreter.get_tensor(detail["index"]), detail)))
        except (RuntimeError, ValueError, KeyError) as error:
            raise CannotRun(f"{path}: LiteRT can't run it: {_short(error)}") from error
        return {name: np.concatenate(found) for name, found in parts.items()}

    return Original("LiteRT", run)


def _quantised(values: Floats, detail: dict[str, Any]) -> NDArray[Any]:
    scale, zero = detail["quantization"]
    if detail["dtype"] == np.float32 or not scale:
        return values.astype(detail["dtype"])
    info = np.iinfo(detail["dtype"])
    found: NDArray[Any] = np.clip(np.rint(values / scale + zero), info.min, info.max).astype(detail["dtype"])
    return found


def _real(values: NDArray[Any], detail: dict[str, Any]) -> Floats:
    scale, zero = detail["quantization"]
    if values.dtype == np.float32 or not scale:
        return np.asarray(values, np.float32)
    return np.asarray((values.astype(np.float64) - zero) * scale, np.float32)


def _open_onnx(path: Path, read: Read) -> Original:
    import onnx
    import onnxruntime

    refusals = _onnx_errors()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1

    def run(pictures: Floats, names: Sequence[str]) -> dict[str, Floats]:
        try:
            model: Any = str(path)
            if any(names):
                loaded = onnx.load(path)
                known = {output.name for output in loaded.graph.output}
                loaded.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in {*known, ""})
                model = loaded.SerializeToString()
            session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            fed = session.get_inputs()[0]
            last = fed.shape[1] not in (pictures.shape[1], None) and fed.shape[-1] == pictures.shape[1]
            wanted = [name or session.get_outputs()[0].name for name in names]
            parts: list[list[Floats]] = [[] for _ in names]
            for picture in pictures:
                one = picture[None].transpose(0, 2, 3, 1) if last else picture[None]
                for found, value in zip(parts, session.run(wanted, {fed.name: np.ascontiguousarray(one)}), strict=True):
                    found.append(_channels_first(value) if last else value.astype(np.float32))
        except refusals as error:
            raise CannotRun(f"{path}: ONNX Runtime can't run it: {_short(error)}") from error
        return {name: _flat(np.concatenate(found), name) for name, found in zip(names, parts, strict=True)}

    return Original("ONNX Runtime", run)


def _onnx_errors() -> tuple[type[Exception], ...]:
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    kinds = (state.Fail, state.InvalidArgument, state.InvalidGraph, state.NotImplemented, state.RuntimeException)
    return (*kinds, ValueError)


def _open_openvino(path: Path, read: Read) -> Original:
    import openvino

    def run(pictures: Floats, names: Sequence[str]) -> dict[str, Floats]:
        try:
            core = openvino.Core()
            model = core.read_model(path)
            fed = model.inputs[0].partial_shape
            last = fed.rank.get_length() == 4 and str(fed[3]) == str(pictures.shape[1]) != str(fed[1])
            compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
            parts = [
                compiled(np.ascontiguousarray(p[None].transpose(0, 2, 3, 1) if last else p[None]))[0] for p in pictures
            ]
        except RuntimeError as error:
            raise CannotRun(f"{path}: OpenVINO can't run it: {_short(error)}") from error
        return {"": _flat(np.concatenate(parts).astype(np.float32), "")}

    return Original("OpenVINO", run)


def _open_keras(path: Path, read: Read) -> Original:
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras

    class DepthwiseConv2D(keras.layers.DepthwiseConv2D):  # type: ignore[misc]  # keras has no types
        """Keras 2 wrote a number of groups, always 1, that Keras 3 does not take."""

        @classmethod
        def from_config(cls, config: dict[str, Any]) -> Any:
            return super().from_config({key: value for key, value in config.items() if key != "groups"})

    def run(pictures: Floats, names: Sequence[str]) -> dict[str, Floats]:
        try:
            model = keras.saving.load_model(
                path, custom_objects={"DepthwiseConv2D": DepthwiseConv2D}, compile=False, safe_mode=True
            )
            fed = np.ascontiguousarray(pictures.transpose(0, 2, 3, 1))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # Keras hands numpy 2 its tensors the old way
                return {"": _flat(np.asarray(model.predict(fed, verbose=0), np.float32), "")}
        except (ValueError, TypeError, OSError, KeyError, RuntimeError) as error:
            raise CannotRun(f"{path}: Keras can't run it: {_short(error)}") from error

    return Original("Keras", run)


def _open_timm(path: Path, read: Read) -> Original:
    import timm

    from .models.weights.timm import timm_architecture

    def made() -> Any:
        return timm.create_model(
            timm_architecture(read.spec), num_classes=read.spec.classes, in_chans=read.spec.in_channels
        )

    return _in_torch("timm", path, made)


def _open_torchvision(path: Path, read: Read) -> Original:
    import torchvision

    from .models.weights.torchvision import torchvision_architecture

    name, alpha = torchvision_architecture(read.spec), read.spec.alpha

    def made() -> Any:
        scaled = {} if name.startswith("mnasnet") else {"width_mult": alpha}
        return getattr(torchvision.models, name)(num_classes=read.spec.classes, **scaled)

    return _in_torch("torchvision", path, made)


def _in_torch(title: str, path: Path, made: Callable[[], Any]) -> Original:
    """Their own module with the file's own tensors under the file's own names: our names play no part."""
    import torch

    from .models.weights.checkpoint import open_checkpoint

    def run(pictures: Floats, names: Sequence[str]) -> dict[str, Floats]:
        model = made().eval()
        prefix = "module."
        arrays = {key.removeprefix(prefix): array for key, array in open_checkpoint(path).arrays.items()}
        try:
            found = model.load_state_dict({key: torch.from_numpy(a.copy()) for key, a in arrays.items()}, strict=False)
            lost = [key for key in found.missing_keys if not key.endswith("num_batches_tracked")]
            if lost or found.unexpected_keys:
                raise CannotRun(f"{path}: {title} wants {(lost or found.unexpected_keys)[0]!r} otherwise")
            with torch.inference_mode():
                parts = [model(torch.from_numpy(pictures[i : i + 16])).numpy() for i in range(0, len(pictures), 16)]
        except RuntimeError as error:
            raise CannotRun(f"{path}: {title} can't run it: {_short(error)}") from error
        return {"": np.concatenate(parts)}

    return Original(title, run)


def runtime_of(kind: str, read: Read) -> Runtime | None:
    """The runtime of a format, or of the library that a bag of tensors comes from; None where nothing can run it."""
    if kind != "checkpoint":
        return RUNTIMES.get(kind)
    from .models.weights.timm import timm_architecture
    from .models.weights.torchvision import torchvision_architecture

    source = read.metadata.get("source")
    try:
        if source == "timm" and timm_architecture(read.spec):
            return Runtime("timm", "timm", "timm", _open_timm)
        if source == "torchvision" and torchvision_architecture(read.spec):
            return Runtime("torchvision", "torchvision", "train", _open_torchvision)
    except UsageError:  # a network that they do not have
        return None
    return None


RUNTIMES: dict[str, Runtime] = {
    "tflite": Runtime("LiteRT", "ai_edge_litert", "litert", _open_tflite),
    "onnx": Runtime("ONNX Runtime", "onnxruntime", "weights", _open_onnx),
    "openvino": Runtime("OpenVINO", "openvino", "openvino", _open_openvino),
    "keras": Runtime("Keras", "keras", "keras", _open_keras),
}
"""The runtime of each graph format (`models.weights.formats`)."""


def _channels_first(values: NDArray[Any]) -> Floats:
    """(1, h, w, C) as (1, C, h, w); answers as (1, K)."""
    found: Floats = values.transpose(0, 3, 1, 2) if values.ndim == 4 else values.reshape(1, -1)
    return found.astype(np.float32)


def _flat(values: Floats, name: str) -> Floats:
    """Answers as (N, K), maps as they are."""
    return values if name else values.reshape(len(values), -1)


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
