"""A .tflite file on its way into LiteRT, whose C++ follows what is written there: damage is found here, before that."""

import contextlib
import os
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...errors import BadData, BadModelFile
from ...models.weights.tflite_file import File, read_file
from ..tracing import first_line

MOST_SUBGRAPHS = 64
MOST_METADATA = 1024
REFUSALS = (RuntimeError, ValueError)
"""What the runtime raises, whatever is wrong."""
_STUMBLES = (struct.error, IndexError, TypeError, ValueError, OverflowError)
"""What the bindings raise on offsets that lead nowhere."""


def check_file(path: Path) -> bytes:
    """The bytes of a file whose tables, indices and constants are all within it, in every subgraph.

    Raises: BadModelFile where it can't be read or is damaged.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadModelFile(f"{path}: can't be read: {error.strerror or error}") from error
    read_subgraphs(data, where=str(path))
    read_metadata(data, where=str(path))
    return data


def read_subgraphs(data: bytes, *, where: str) -> tuple[File, ...]:
    """Every subgraph as checked values. Raises BadModelFile for a damaged file."""
    try:
        first = read_file(data, where=where)
        if first.subgraphs > MOST_SUBGRAPHS:
            raise BadModelFile(f"{where} claims {first.subgraphs} subgraphs; at most {MOST_SUBGRAPHS} are read")
        others = (read_file(data, where=where, subgraph=k) for k in range(1, first.subgraphs))
        return (first, *others)
    except BadData as error:
        raise BadModelFile(error.message) from error


def read_metadata(data: bytes, *, where: str) -> dict[str, str]:
    """The metadata buffers that are text, by name. Raises BadModelFile for a damaged file."""
    from ai_edge_litert import schema_py_generated as schema

    found = {}
    try:
        model: Any = schema.Model.GetRootAs(data, 0)
        if model.MetadataLength() > MOST_METADATA:
            raise BadModelFile(f"{where} claims {model.MetadataLength()} metadata; at most {MOST_METADATA} are read")
        for i in range(model.MetadataLength()):
            entry = model.Metadata(i)
            if not 0 <= entry.Buffer() < model.BuffersLength():
                raise BadModelFile(f"{where}: metadata names buffer {entry.Buffer()} of {model.BuffersLength()}")
            held = model.Buffers(entry.Buffer()).DataAsNumpy()
            name = (entry.Name() or b"").decode("utf-8", "replace")
            if not isinstance(held, int) and name.startswith("mobilenets."):
                found[name] = held.tobytes().decode("utf-8", "replace")
    except _STUMBLES as error:
        raise BadModelFile(f"{where}: damaged or truncated flatbuffer: {str(error).splitlines()[0]}") from error
    return found


def load(path: Path, data: bytes, *, threads: int, inner: bool = False) -> Any:
    """The file in LiteRT, ready to run. inner: every tensor is kept, for which no delegate may join operators.

    The caller keeps `data`: the interpreter reads from it. Raises: BadModelFile where LiteRT refuses the file.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES if inner else OpResolverType.AUTO
    try:
        with hushed():
            made = Interpreter(
                model_content=data,
                num_threads=threads,
                experimental_op_resolver_type=resolver,
                experimental_preserve_all_tensors=inner,
            )
            made.allocate_tensors()
    except REFUSALS as error:
        raise BadModelFile(f"{path}: LiteRT can't load it: {first_line(error)}") from error
    return made


_STDERR = threading.Lock()


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """LiteRT's C++ announces its delegates on stderr, whoever listens: nothing of it reaches the terminal."""
    with _STDERR, contextlib.ExitStack() as undo:  # two at once would each keep the other's silence
        try:
            kept = os.dup(2)
        except OSError:  # no stderr at all
            kept = -1
        if kept >= 0:
            undo.callback(os.close, kept)
            undo.callback(os.dup2, kept, 2)
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), 2)
        yield
