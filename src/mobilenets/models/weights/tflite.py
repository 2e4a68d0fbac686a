"""TFLite files, float and fully quantised, as a `Graph`: what is fed, what is taken, labels, and the operators.

A file's labels are an ordinary zip appended to it (TFLite metadata), so it opens as one too.
"""

import io
import zipfile
import zlib
from typing import Literal

from ...errors import BadData
from .graph import Fed, Graph
from .quantisation import BYTES, checked
from .tflite_file import File, Tensor, read_file
from .tflite_ops import Translation

_TAIL_BYTES = 4 * 2**20
_LABEL_BYTES = 2**20
_LABEL_FILES = ("labels.txt", "labelmap.txt", "imagenet_labels.txt")
_PICTURE_CHANNELS = (1, 3, 4)


def read_graph(data: bytes, *, where: str) -> Graph:
    """The network that a .tflite file holds, with float32 constants in our layouts (graph.py).

    An activation that the file has inside another operator follows it as a node of its own, whose output keeps the
    file's name; so does one that an old quantised file only implies by the range of an output (`notes` count them).

    Args:
        data: the file's bytes. where: its name, for errors.

    Raises: BadData in one line for what is damaged, or quantised in a way that has no meaning; MissingRuntime
    without the package `tflite`.
    """
    file = read_file(data, where=where)
    translation = Translation(file, where)
    nodes = translation.nodes()
    labels, problem = _labels(data)
    notes = [f"the first of {file.subgraphs} subgraphs was read"] if file.subgraphs > 1 else []
    return Graph(
        "tflite",
        nodes,
        tuple(_fed(file, i, where) for i in file.inputs),
        tuple(_fed(file, i, where) for i in file.outputs),
        labels=labels,
        notes=tuple(dict.fromkeys([*notes, *translation.notes, *problem])),
        quantised=any(t.data is None and t.quantisation and t.dtype in BYTES for t in file.tensors),
        metadata=file.metadata,
    )


def _fed(file: File, index: int, where: str) -> Fed:
    if index < 0:
        raise BadData(f"{where}: an input or output of the network is left out")
    tensor = file.tensors[index]
    scale, zero_point = 1.0, 0
    if tensor.quantisation and tensor.dtype in BYTES:
        q = checked(tensor.quantisation, tensor.shape, where=f"{where}: tensor {tensor.name!r}")
        scale, zero_point = float(q.scales[0]), int(q.zero_points[0])
    return Fed(tensor.name, tensor.shape, _layout(tensor), tensor.dtype.lower(), scale, zero_point)


def _layout(tensor: Tensor) -> Literal["nchw", "nhwc"]:
    """The format's own is N H W C; a picture may come in PyTorch's order, as converters from there leave it."""
    shape = tensor.shape
    is_first = len(shape) == 4 and shape[1] in _PICTURE_CHANNELS and shape[3] not in (*_PICTURE_CHANNELS, 0)
    return "nchw" if is_first else "nhwc"


def _labels(data: bytes) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The lines of the label file in the zip at the end, and what was wrong with it: () and () where there is none."""
    tail = io.BytesIO(data[-_TAIL_BYTES:])
    if not zipfile.is_zipfile(tail):
        return (), ()
    try:
        with zipfile.ZipFile(tail) as archive:
            entries = {entry.filename: entry for entry in archive.infolist()}
            others = sorted(name for name in entries if "label" in name.lower() and name.endswith(".txt"))
            name = next((name for name in (*_LABEL_FILES, *others) if name in entries), None)
            if name is None:
                return (), ()
            if entries[name].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                return (), (f"{name} in the file is compressed in a way that is not read",)
            with archive.open(entries[name]) as file:
                text = file.read(_LABEL_BYTES + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError) as error:
        return (), (f"the labels in the file can't be read: {error}",)
    if len(text) > _LABEL_BYTES:
        return (), (f"{name} in the file is longer than {_LABEL_BYTES} bytes and was left out",)
    lines = [line.strip() for line in text.decode("utf-8", "replace").rstrip().splitlines()]
    return tuple(lines), ()
