"""What a .pte file consists of, read off the file with executorch's own schemas, without running it."""

import contextlib
import io
import json
import math
import os
import re
import shutil
import struct
import subprocess
import sysconfig
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BadModelFile
from ..records import Structure
from .litert.file import hushed
from .tracing import first_line, quiet

if TYPE_CHECKING:
    from .targets import Precision

XNNPACK = "XnnpackBackend"
_TYPES = {"fp32": "float32", "fp16": "float16", "float": "float32", "half": "float16"}


def checked_bytes(path: Path) -> bytes:
    """The bytes of a file that is whole: the identifier and the sizes in its header fit.

    Raises: BadModelFile where it can't be read, is no .pte file or is cut off.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadModelFile(f"{path}: can't be read: {error.strerror or error}") from error
    if len(data) < 48 or data[4:6] != b"ET":
        raise BadModelFile(f"{path}: is no ExecuTorch program")
    if data[8:12] == b"eh00":
        program_size, base, size = struct.unpack_from("<QQQ", data, 16)
        if not 0 < program_size <= len(data) or (base and base + size > len(data)):
            raise BadModelFile(f"{path}: is cut off: {len(data)} of {max(program_size, base + size)} bytes are there")
    return data


def inspect_executorch(path: Path, *, precision: "Precision") -> Structure:
    """What the file consists of: XNNPACK's operators and the kernels outside of it, weights by type, partitions."""
    data = checked_bytes(path)
    try:
        with silent(), flatc_found():
            from executorch.exir._serialize._program import deserialize_pte_binary

            program: Any = deserialize_pte_binary(data).program
            plan = next(plan for plan in program.execution_plan if plan.name == "forward")
            held = [program.backend_delegate_data[part.processed.index].data for part in plan.delegates]
            graphs = [
                _xnnpack_graph(bytes(blob))
                for part, blob in zip(plan.delegates, held, strict=True)
                if part.id == XNNPACK
            ]
    except (ValueError, KeyError, IndexError, StopIteration, struct.error, subprocess.CalledProcessError) as error:
        raise BadModelFile(f"{path}: can't be taken apart: {first_line(error)}") from error
    operators: Counter[str] = Counter()
    weights: Counter[str] = Counter()
    for graph in graphs:
        operators.update(node["xnode_union_type"].removeprefix("XNN") for node in graph["xnodes"])
        for value in graph["xvalues"]:
            tensor = value["xvalue_union"].get("tensor_value", value["xvalue_union"])
            if tensor["constant_buffer_idx"]:
                weights[_type(tensor["datatype"].removeprefix("xnn_datatype_"))] += math.prod(tensor["dims"])
    outside: Counter[str] = Counter()
    for call in (instruction.instr_args for chain in plan.chains for instruction in chain.instructions):
        if hasattr(call, "op_index"):
            outside[plan.operators[call.op_index].name.removeprefix("aten::")] += 1
    for tensor in (value.val for value in plan.values):
        if getattr(tensor, "data_buffer_idx", 0):
            weights[_type(tensor.scalar_type.name.lower())] += math.prod(tensor.sizes)
    operators += outside
    transposes = sum(count for name, count in operators.items() if "Transpose" in name or "permute" in name)
    complaints = () if graphs else ("XNNPACK has taken nothing: every operator runs in a slow portable kernel",)
    return Structure(dict(operators), dict(weights), transposes, len(plan.delegates), sum(outside.values()), complaints)


def _type(name: str) -> str:
    return _TYPES.get(name, name)


def _xnnpack_graph(blob: bytes) -> dict[str, Any]:
    """The graph that XNNPACK is handed: a header, then a flatbuffer, then constants."""
    from executorch.backends.xnnpack import serialization
    from executorch.exir._serialize._flatbuffer import _flatc_decompile

    if blob[4:8] == b"XH00":
        start, size = struct.unpack_from("<II", blob, 10)
        blob = blob[start : start + size]
    schema = Path(next(iter(serialization.__path__)), "schema.fbs")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "graph.bin")
        file.write_bytes(blob)
        # The schema's own identifier differs from the one that stored graphs bear.
        _flatc_decompile(folder, str(schema), str(file), ["--raw-binary"])
        # flatc writes an open bound as inf or -inf, which JSON spells otherwise.
        text = re.sub(r"(?<=: )(-?)inf\b", r"\1Infinity", file.with_suffix(".json").read_text())
        graph: dict[str, Any] = json.loads(text)
    return graph


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Nothing of what Python or C++ says meanwhile reaches the terminal: progress bars, log lines and warnings."""
    with quiet(), contextlib.redirect_stderr(io.StringIO()), hushed():
        yield


@contextlib.contextmanager
def flatc_found() -> Iterator[None]:
    """executorch starts the program flatc, which lies beside this Python and on PATH only in an active environment."""
    before = os.environ.get("PATH", "")
    if shutil.which("flatc") is None:
        os.environ["PATH"] = os.pathsep.join(filter(None, (sysconfig.get_path("scripts"), before)))
    try:
        yield
    finally:
        os.environ["PATH"] = before
