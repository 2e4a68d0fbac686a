"""Which reader a file is for: one table of formats, by suffix and by the first bytes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ...errors import BadData, SpecError, UsageError
from .graph import Graph
from .read import Read
from .recognise import recognise

MOST_BYTES = 2_000_000_000
MOST_SAID = 600
"""Characters in a message: names in a hostile file can be as long as the file."""


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of file. read: reads it as named tensors, None for a file that has operators; graph: reads it as those."""

    name: str
    suffixes: tuple[str, ...]
    read: Callable[[Path, str | None], Read | None] | None = None
    graph: Callable[[Path], Graph] | None = None


def _tflite(path: Path) -> Graph:
    from .tflite import read_graph

    return read_graph(_bytes(path), where=str(path))


def _onnx(path: Path) -> Graph:
    from .onnx import read_graph

    return read_graph(_bytes(path), where=str(path))


def _openvino(path: Path) -> Graph:
    from .openvino import read_graph

    weights = path.with_suffix(".bin")
    if not weights.is_file():
        raise BadData(f"{path}: its weights, {weights.name}, are not beside it")
    return read_graph(_bytes(path), _bytes(weights), where=str(path))


def _keras(path: Path) -> Graph:
    from .keras import read_graph

    return read_graph(path)


def _keras_weights(path: Path, name: str | None) -> Read | None:
    """A Keras file of weights alone; None for a whole model."""
    from .keras import is_weights_only, read_weights
    from .keras_names import read_keras_weights

    return read_keras_weights(read_weights(path), where=str(path)) if is_weights_only(path) else None


def _checkpoint(path: Path, name: str | None) -> Read:
    from .checkpoint import open_checkpoint
    from .state_dict import read_state_dict

    opened = open_checkpoint(path)
    return read_state_dict(opened.arrays, where=str(path), name=name, config=opened.metadata)


def _tf_checkpoint(path: Path, name: str | None) -> Read:
    from .slim import read_slim
    from .tf_checkpoint import read_checkpoint

    return read_slim(read_checkpoint(path), where=str(path))


def _npz(path: Path, name: str | None) -> Read:
    from .slim import read_slim
    from .tf_checkpoint import read_npz

    return read_slim(read_npz(path), where=str(path))


FORMATS: tuple[Format, ...] = (
    Format("tflite", (".tflite", ".lite"), graph=_tflite),
    Format("onnx", (".onnx",), graph=_onnx),
    Format("openvino", (".xml",), graph=_openvino),
    Format("keras", (".h5", ".hdf5", ".keras"), read=_keras_weights, graph=_keras),
    Format("npz", (".npz",), read=_npz),
    Format("tf_checkpoint", (".index", ".ckpt.index", ".data-00000-of-00001"), read=_tf_checkpoint),
    Format("checkpoint", (".safetensors", ".pth", ".pt", ".tar", ".bin", ".ckpt", ".pkl"), read=_checkpoint),
)


def format_of(path: Path) -> Format:
    """The format of the file at `path`. Raises: UsageError where there is none such, or no file."""
    if not path.exists():
        if path.with_name(path.name + ".index").is_file():
            return next(f for f in FORMATS if f.name == "tf_checkpoint")
        raise UsageError(f"{path}: no such file")
    if path.is_dir():
        raise UsageError(f"{path}: is a folder", hint="name the checkpoint's file in it")
    for known in FORMATS:
        if path.name.lower().endswith(known.suffixes):
            return known
    suffixes = ", ".join(suffix for known in FORMATS for suffix in known.suffixes[:2])
    raise UsageError(f"{path}: no format that can be read; known: {suffixes}")


def read_file(path: Path, *, name: str | None = None, backbone: bool = False) -> Read:
    """The published network in the file at `path`.

    name: the network, where a bag of tensors does not say it (a name of the catalogue); for a graph that is no network
    of the catalogue, what to call it. backbone: take the MobileNet out of a larger network.

    Raises: BadData, CheckpointMismatch, UnknownName: one line each; MissingRuntime for a reader's package.
    """
    known = format_of(path)
    try:
        read = None if known.read is None else known.read(path, name)
        if read is None and known.graph is not None:
            read = recognise(known.graph(path), where=str(path), name=name or path.stem, backbone=backbone)
    except UsageError as error:
        if (shown := _shown(error, path)) is error:
            raise
        raise shown from error
    if read is None:
        raise BadData(f"{path}: holds no weights")
    return read


def _shown(error: UsageError, path: Path) -> UsageError:
    """`error` as one line that a terminal can show, and that says which file it is about."""
    if isinstance(error, SpecError):
        return _shown(BadData(f"{path}: {error.message}", hint=error.hint), path)
    text = "".join(c if c.isprintable() else "?" for c in error.message)
    if len(text) > MOST_SAID + len(str(path)):
        text = text[: MOST_SAID + len(str(path))] + " ..."
    return error if text == error.message else type(error)(text, hint=error.hint)


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise BadData(f"{path}: larger than {MOST_BYTES // 10**9} GB; no MobileNet is")
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: can't be read: {error.strerror}") from error
