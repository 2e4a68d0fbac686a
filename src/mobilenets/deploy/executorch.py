"""The ExecuTorch target: a .pte file lowered to XNNPACK, and a session in ExecuTorch's Python runtime.

executorch is bound to one minor release of torch without saying so: files come out well with a wrong pair and die when
they are run, so the pair is checked first of all. A file takes one picture at a time; a session walks over its batch.
"""

import copy
import importlib.metadata
import json
import logging
import subprocess
import threading
import weakref
import zlib
from base64 import b85decode
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BadData, BadModelFile, MissingRuntime, MobilenetsError, UsageError
from ..files import replacing
from ..tasks.interface import Outputs
from .embedded import Embedded, embedded_from_strings
from .executorch_inspection import checked_bytes, flatc_found, inspect_executorch, silent
from .feeding import check_batch
from .tracing import Source, first_line, same_padded

if TYPE_CHECKING:
    import torch

    from .targets import Precision

__all__ = ["export_executorch", "inspect_executorch", "open_executorch", "probe_executorch"]

log = logging.getLogger(__name__)

PAIRS = {"1.3": "2.12", "1.4": "2.13", "1.5": "2.14"}
"""Minor releases of executorch and the torch each was built with."""
STEP_PX = 32
"""Sides of a file of several sizes are multiples of this: the strides of the networks."""
FACTS, BOUNDS = "mobilenets_facts", "mobilenets_bounds_px"
"""Constant methods: the facts by their keys, and [[h, w] smallest, [h, w] largest], both as JSON."""
_SIZES_ERROR = 2e-4  # of float32 in another runtime, as `checks.LIMITS` has it
_DTYPES: dict[int, np.dtype[Any]] = {0: np.dtype(np.uint8), 6: np.dtype(np.float32)}  # torch's ScalarType
# y = relu(x) for float32 (2,), lowered to XNNPACK: a .pte file of 1408 bytes, packed.
_PROBE = (
    b"c-pO0!D`z;5S?`#S9L{D9T9veMTi`7Fh$O(Ej^TwLJp;;9t@6Y6I&ssLJ^KkTS{n;{hS<f4*7&0a_9%-JEFcFjpUV_912-6+SO|3&D+^|`-X_#ee"
    b"7?C$3fs>e6>P(Yv$cAMP+lSi?@s3CJPH3{vz6hy*KRdZI)?w!<8Dc&W2g+*+gH(Z}PKf`qwiaZO|6HJ$!YI_#1-x5|)Vlfn943u-^c<Zsf6x_PK_"
    b"y<6UN1W(zl0{+(k^sHru)263DmjKA!_!g#XqcX-q;Ikg4nt(YqJY||6jvm+_7_^T=J1y5DusEj$iW?$A{fTKPUTJ2DWo^m8hGTD*6bc-CeTFkFi!"
    b"&8E3f%#+MQee8YzJ%$Rm_WS&2j^bQJSP^9iFRSHV8edT`{AeGlhA+d#q%iYdH(n$PQ!1hF>ySNCbKa9bee=?Ob<tABlzCd{r$uFG)kxO>5FupM4?"
    b"~7@->)$7utjQ{}2DOJ9$s0<FpobIP&j<KoTAy2S+EfuLrXUJwzMq1;KOD>fcvYMH0^rJ_LQOL66VUMh&=mji3s&1_OB9px={o*Lv(pjhY%M>ZrZA"
    b"UMlsjjM^ELx>>`1E%7Cl$L%0~i@D_YlFPNJy$ijm8lGNj;<$336(|nhE6W&-TJP{bm$7VCeXfJeiq_kuu9455M9bO>WY7NqminIv"
)


def export_executorch(source: Source, path: Path, *, facts: Embedded, precision: "Precision") -> None:
    """Write one .pte file with input (1, C, h, w), or uint8 (1, h, w, C) where it normalises, lowered to XNNPACK.

    Further sizes make h and w free between the smallest and the largest, in steps of 32 px. Facts go into a constant
    method. Takes 15 s to a minute. Raises: UsageError for a network or sizes that can't be lowered; MissingRuntime.
    """
    require_pair()
    with replacing(path) as temporary:  # first of all: a folder that can't be written must not cost an export
        module = _module(source, facts)
        bounds = _bounds(source)
        data = _lowered(source, facts, module, bounds)
        temporary.write_bytes(data)
        if bounds:
            _try_sizes(source, temporary, module, facts, bounds)
    log.info("wrote %s (%s)", path, precision)


def require_pair() -> None:
    """Raises MissingRuntime where the installed executorch and torch are no pair known to work."""
    found = {name: importlib.metadata.version(name) for name in ("executorch", "torch")}
    have = {name: ".".join(version.split(".")[:2]) for name, version in found.items()}
    if PAIRS.get(have["executorch"]) == have["torch"]:
        return
    fitting = next((runtime for runtime, torch in PAIRS.items() if torch == have["torch"]), "")
    runtime, torch = (fitting, have["torch"]) if fitting else next(iter(PAIRS.items()))
    raise MissingRuntime(
        f"executorch {found['executorch']} does not run with torch {found['torch']}",
        hint=f"pip install 'executorch=={runtime}.*' 'torch=={torch}.*'",
    )


def _module(source: Source, facts: Embedded) -> "torch.nn.Module":
    """The folded network as it lowers best, behind the normalisation of pixels where the file does it."""
    from torch import nn

    from ..models.activations import ClampedLine
    from ..specs.activation import HardSigmoid

    network = copy.deepcopy(source.folded())
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.Hardsigmoid):  # lowered as it is, it leaves two copies per gate outside XNNPACK
            network.set_submodule(name, ClampedLine(HardSigmoid()))
    return network if facts.inside == "nothing" else _normalising(network, facts)


def _normalising(network: "torch.nn.Module", facts: Embedded) -> "torch.nn.Module":
    """The network behind (pixels / 255 - mean) / std, from uint8 (N, h, w, C)."""
    import torch
    from torch import Tensor, nn

    mean, std = (
        np.array(values, np.float64)[:, None, None] for values in (facts.preprocess.mean, facts.preprocess.std)
    )

    class Normalising(nn.Module):
        factor: Tensor
        offset: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.network = network
            self.register_buffer("factor", torch.from_numpy((1 / (255 * std)).astype(np.float32)))
            self.register_buffer("offset", torch.from_numpy((mean / std).astype(np.float32)))

        def forward(self, image: Tensor) -> Tensor:
            outputs: Tensor = self.network(image.permute(0, 3, 1, 2).to(torch.float32) * self.factor - self.offset)
            return outputs

    return Normalising().eval()


def _bounds(source: Source) -> tuple[tuple[int, int], ...]:
    """The smallest and the largest (h, w) of a file of several sizes; empty for one size."""
    sizes = {source.size_px, *source.form.sizes_px}
    if len(sizes) == 1:
        return ()
    if layer := same_padded(source.network):
        raise UsageError(
            f"{source.name}: {layer} pads as TensorFlow does, by the size of its input: one file takes one size",
            hint="export one file per size",
        )
    if odd := next((size for size in sorted(sizes) if size[0] % STEP_PX or size[1] % STEP_PX), None):
        raise UsageError(
            f"ExecuTorch files of several sizes take multiples of {STEP_PX} px, not {odd[0]}x{odd[1]}",
            hint="export one file per size",
        )
    heights, widths = zip(*sizes, strict=True)
    return (min(heights), min(widths)), (max(heights), max(widths))


def _lowered(source: Source, facts: Embedded, module: "torch.nn.Module", bounds: tuple[tuple[int, int], ...]) -> bytes:
    """The file's bytes."""
    import torch

    threads = torch.get_num_threads()
    try:
        with silent(), flatc_found():
            from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
            from executorch.exir import to_edge_transform_and_lower

            # Of several sizes the largest: maps of one cell would be taken for constants.
            example = torch.from_numpy(_example(source, facts, bounds[1] if bounds else source.size_px))
            program = torch.export.export(module, (example,), dynamic_shapes=_free_sides(facts, bounds))
            edge = to_edge_transform_and_lower(
                program,
                partitioner=[XnnpackPartitioner()],
                constant_methods={FACTS: json.dumps(facts.as_strings()), BOUNDS: json.dumps(bounds)},
            )
            return bytes(edge.to_executorch().buffer)
    except FileNotFoundError as error:
        raise MissingRuntime(
            f"executorch's compiler of schemas is missing: {error.filename}",
            hint="pip install 'mobilenets[executorch]'",
        ) from error
    except _export_errors() as error:
        raise UsageError(f"{source.name} can't be exported to ExecuTorch: {first_line(error)}") from error
    finally:
        torch.set_num_threads(threads)


def _free_sides(facts: Embedded, bounds: tuple[tuple[int, int], ...]) -> tuple[dict[int, Any]] | None:
    """The axes of the input that are free, as torch.export takes them."""
    if not bounds:
        return None
    from torch.export import Dim

    first = 2 if facts.inside == "nothing" else 1
    free = {}
    for axis, (name, low, high) in enumerate(zip(("height", "width"), *bounds, strict=True), start=first):
        if low < high:
            free[axis] = STEP_PX * Dim(f"{name}_cells", min=low // STEP_PX, max=high // STEP_PX)
    return (free,)


def _example(source: Source, facts: Embedded, size_px: tuple[int, int]) -> NDArray[Any]:
    """One picture as the file is fed."""
    generator = np.random.default_rng(0)
    if facts.inside == "nothing":
        return generator.standard_normal((1, source.channels, *size_px)).astype(np.float32)
    return generator.integers(0, 256, (1, *size_px, source.channels), np.uint8)


def _try_sizes(
    source: Source, path: Path, module: "torch.nn.Module", facts: Embedded, bounds: tuple[tuple[int, int], ...]
) -> None:
    """Raises UsageError where the file doesn't answer as the network does at both ends and at the usual size."""
    import torch

    session = open_executorch(path, threads=1)
    for size in dict.fromkeys((*bounds, source.size_px)):
        image = _example(source, facts, size)
        with torch.no_grad():
            made = module(torch.from_numpy(image))
        wanted = [value.numpy() for value in (made if isinstance(made, tuple) else (made,))]
        try:
            found = session.run(image)
        except BadModelFile as error:
            raise UsageError(f"{source.name}: ExecuTorch can't run it at {size[0]}x{size[1]}") from error
        for want, have in zip(wanted, found if isinstance(found, tuple) else (found,), strict=True):
            if want.shape != have.shape or np.abs(want - have).max() > _SIZES_ERROR * np.abs(want).max():
                raise UsageError(f"{source.name}: answers otherwise in ExecuTorch at {size[0]}x{size[1]}")


def _export_errors() -> tuple[type[Exception], ...]:
    """What torch.export and the lowering raise for a network that they can't take."""
    from executorch.exir.error import ExportError, InternalError
    from torch._export.verifier import SpecViolationError

    usual = (RuntimeError, TypeError, ValueError, KeyError, AssertionError, subprocess.CalledProcessError)
    return (ExportError, InternalError, SpecViolationError, *usual)


# --- running ------------------------------------------------------------------------------------------------------

_RUNTIME = threading.RLock()
_sessions: "weakref.WeakSet[ExecuTorchSession]" = weakref.WeakSet()


@dataclass(slots=True, eq=False, weakref_slot=True)
class ExecuTorchSession:
    """A .pte file loaded in ExecuTorch. Safe to call from several threads, which take turns with all sessions.

    The runtime has one pool of threads per process, and a loaded method keeps using the pool that it was loaded with:
    a run with another number of threads than the last one had exchanges the pool, for which every session is unloaded
    and loaded again at its next run. Sessions of one thread count cost nothing extra.
    """

    path: Path
    input_shape: tuple[int | None, ...]
    input_dtype: np.dtype[Any]
    output_names: tuple[str, ...]
    facts: Embedded | None
    threads: int
    bounds: tuple[tuple[int, int], ...]
    """Smallest and largest (h, w) of a file of several sizes, else empty."""
    data: bytes
    program: Any = None
    """Kept as long as its method is used; None while unloaded."""
    method: Any = field(default=None)

    def run(self, batch: NDArray[np.generic]) -> Outputs:
        """The outputs for a batch, one picture after the other. Raises BadData for a batch of another shape or type."""
        self._check(batch)
        import torch

        with _RUNTIME:
            self.load()
            try:
                rows = [self.method.execute([torch.tensor(batch[k : k + 1])]) for k in range(len(batch))]
            except RuntimeError as error:
                raise BadModelFile(f"{self.path}: ExecuTorch stopped: {first_line(error)}") from error
        outputs = tuple(np.concatenate([value.numpy() for value in column]) for column in zip(*rows, strict=True))
        return outputs[0] if len(outputs) == 1 else outputs

    def load(self) -> None:
        """Make the method ready, in a pool of this session's threads."""
        with _RUNTIME:
            _use_threads(self.threads)
            if self.method is None:
                self.program = _program(self.path, self.data)
                try:
                    with silent():
                        self.method = self.program.load_method("forward")
                    if self.bounds:
                        self._run_largest()
                except RuntimeError as error:
                    self.unload()
                    raise BadModelFile(f"{self.path}: ExecuTorch can't load it: {first_line(error)}") from error
                _sessions.add(self)

    def _run_largest(self) -> None:
        """Run the largest picture once. A method that has seen smaller ones alone answers larger ones with garbage
        (1e29 where logits are 1e4, executorch 1.3); one that has seen the largest answers all sizes rightly."""
        import torch

        first = 1 if self.input_dtype == np.uint8 else 2
        shape = [1, *(side or 1 for side in self.input_shape[1:])]
        shape[first : first + 2] = self.bounds[1]
        self.method.execute([torch.from_numpy(np.zeros(shape, self.input_dtype))])

    def unload(self) -> None:
        """Let go of the method, and of the program it runs in; the next run loads them again."""
        self.method = self.program = None

    def _check(self, batch: NDArray[np.generic]) -> None:
        check_batch(batch, self.input_shape, self.input_dtype, where=self.path)
        if self.bounds:
            first = 1 if self.input_dtype == np.uint8 else 2
            (h, w), (low, high) = batch.shape[first : first + 2], self.bounds
            if h % STEP_PX or w % STEP_PX or not (low[0] <= h <= high[0] and low[1] <= w <= high[1]):
                raise BadData(
                    f"{self.path}: takes pictures of {low[0]}x{low[1]} to {high[0]}x{high[1]} (h x w) in steps of "
                    f"{STEP_PX}, got {h}x{w}"
                )


def open_executorch(path: Path, *, threads: int) -> ExecuTorchSession:
    """Load a .pte file. The thread count holds for the whole process while a session with it runs.

    Raises: BadModelFile for a file that is missing, damaged, or takes no picture; MissingRuntime for a wrong pair.
    """
    require_pair()
    data = checked_bytes(path)
    with _RUNTIME:
        program = _program(path, data)
        names = program.method_names
        if "forward" not in names:
            raise BadModelFile(f"{path}: has no method forward")
        meta = program.metadata("forward")
        kind = _DTYPES.get(meta.input_tensor_meta(0).dtype()) if meta.num_inputs() == 1 else None
        if kind is None:
            raise BadModelFile(f"{path}: must have one image input of float32 or uint8")
        shape: list[int | None] = [None, *meta.input_tensor_meta(0).sizes()[1:]]
        facts = embedded_from_strings(_constant(path, program, FACTS, {}), where=str(path))
        bounds = tuple((int(h), int(w)) for h, w in _constant(path, program, BOUNDS, []))
        if bounds:
            first = 1 if kind == np.uint8 else 2
            shape[first : first + 2] = [None if a < b else a for a, b in zip(*bounds, strict=True)]
        several = tuple(f"output_{k}" for k in range(meta.num_outputs()))
        session = ExecuTorchSession(
            path, tuple(shape), kind, several if facts is None else facts.output_names, facts, threads, bounds, data
        )
        session.load()
    return session


def probe_executorch() -> None:
    """Run a graph of one operator in XNNPACK. Raises whatever stands in the way, as an error of ours."""
    require_pair()
    import torch

    try:
        with _RUNTIME, silent():
            from executorch.runtime import Runtime

            program = Runtime.get().load_program(zlib.decompress(b85decode(_PROBE)))
            answer = program.load_method("forward").execute([torch.tensor([-1.0, 2.0])])[0].tolist()
    except (RuntimeError, ImportError) as error:
        raise MobilenetsError(f"ExecuTorch does not run: {first_line(error)}") from error
    if answer != [0.0, 2.0]:
        raise MobilenetsError(f"ExecuTorch computes relu(-1, 2) as {answer}")


def _program(path: Path, data: bytes) -> Any:
    """The file as the runtime's program, which refers to `data`."""
    try:
        with silent():
            from executorch.runtime import Runtime

            return Runtime.get().load_program(data)
    except RuntimeError as error:
        raise BadModelFile(f"{path}: ExecuTorch can't load it: {first_line(error)}") from error


def _constant(path: Path, program: Any, name: str, default: Any) -> Any:
    """What a constant method of ours says, of the type of `default`, which stands for a file of another program."""
    if name not in program.method_names:
        return default
    try:
        with silent():
            value = json.loads(program.load_method(name).execute([])[0])
    except (RuntimeError, ValueError, TypeError) as error:
        raise BadModelFile(f"{path}: its {name} can't be read: {first_line(error)}") from error
    if not isinstance(value, type(default)):
        raise BadModelFile(f"{path}: its {name} holds {type(value).__name__}")
    return value


def _use_threads(count: int) -> None:
    """Give the process a pool of `count` threads. Methods that were loaded with the old one would use freed memory."""
    with silent():
        from executorch.extension.pybindings import _portable_lib as library

        if library._threadpool_get_thread_count() == count:
            return
        for session in list(_sessions):
            session.unload()
        library._unsafe_reset_threadpool(count)
