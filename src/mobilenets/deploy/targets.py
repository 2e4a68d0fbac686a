"""The targets there are, one row each: what a network can be exported to, checked, timed and run in.

A new target is one file (its exporter, its session, its inspector, its probe) and one row here; export, verify, bench,
doctor, the model file, the docs and the tests walk this table and know no target by name.
"""

import difflib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import MissingRuntime, UnknownName, UsageError
from ..records import Structure
from ..tasks.interface import Outputs
from .embedded import Embedded, Inside
from .machine import has_bfloat16
from .tracing import Source

Precision = Literal["float32", "float16", "bfloat16"]
"""float32: weights and arithmetic. float16: weights stored in half the bytes; the arithmetic is the runtime's own
(float32 on a CPU, float16 in Core ML). bfloat16: weights in float32, arithmetic in bfloat16 where the CPU has it."""


class Session(Protocol):
    """A loaded file, ready to run in its own runtime."""

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """What it is fed, batch first, in the file's own layout; None where any length will do."""
        ...

    @property
    def input_dtype(self) -> np.dtype[Any]:
        """The type of what it is fed: float32, or uint8 where preprocessing is inside."""
        ...

    @property
    def output_names(self) -> tuple[str, ...]: ...

    @property
    def facts(self) -> Embedded | None:
        """What was written into the file with it; None in a file that another program wrote."""
        ...

    def run(self, batch: NDArray[np.generic]) -> Outputs:
        """The outputs for a batch: one array (N, ...), or a tuple of them where there are several output names.

        The arrays are the caller's own: the next run does not change them. Raises: BadData for a batch of another
        shape or type.
        """
        ...


class Exporter(Protocol):
    def __call__(self, source: Source, path: Path, *, facts: Embedded, precision: Precision) -> None:
        """Write the network to `path`, whole or not at all, with `facts` inside it.

        `facts.preprocess` is already in the layout and dtype that this file is to be fed, `facts.inside` says what it
        does itself. Files beside `path` (an .xml's .bin) have the same stem.
        """
        ...


class Opener(Protocol):
    def __call__(self, path: Path, *, threads: int) -> Session:
        """Load an exported file. Raises BadModelFile for one that the runtime refuses."""
        ...


class Inspector(Protocol):
    def __call__(self, path: Path, *, precision: Precision) -> Structure:
        """What the file consists of, with complaints for what a file of `precision` should not have or lacks."""
        ...


class Layers(Protocol):
    def __call__(self, path: Path, batch: NDArray[np.generic]) -> Iterator[tuple[str, NDArray[Any]]]:
        """The outputs of the file's inner operators for a batch, in the order of the graph, by the names of
        `tracing.py` (a layer's name, where one operator makes its output); maps as (N, C, h, w), else as they are."""
        ...


Preparer = Callable[[Path], Callable[[NDArray[np.uint8]], NDArray[np.float32]]]


@dataclass(frozen=True, slots=True)
class Target:
    """One row of the table.

    name: as `--target` takes it; title: as people call it; module: the file of this room that holds its functions;
    suffix: of its files. precisions: the first is the default. layout: of what its files are fed.
    with_preprocess: how much of the preprocessing a file can do itself.
    run_extra, export_extra: the extras of this library that bring what running and exporting need ("": the core).
    run_modules, export_modules: what must be importable for each. systems: `sys.platform` values where it runs.
    exporter, opener, inspector, probe, layers, preparer: names in `module`, resolved when called, so that no runtime is
    imported before it is used; a probe runs a tiny graph in the runtime and raises what the runtime raises; layers is
    empty where the runtime does not show its inner tensors, preparer where no file holds all of the preprocessing.
    """

    name: str
    title: str
    module: str
    suffix: str
    precisions: tuple[Precision, ...]
    layout: Literal["nchw", "nhwc"]
    with_preprocess: Inside
    run_extra: str
    export_extra: str
    run_modules: tuple[str, ...]
    export_modules: tuple[str, ...]
    systems: tuple[str, ...]
    exporter: str
    opener: str
    inspector: str
    probe: str
    layers: str = ""
    preparer: str = ""

    def file_name(self, precision: Precision) -> str:
        """Where an export lies inside a model file."""
        stem = "model" if precision == self.precisions[0] else f"model_{precision}"
        return f"{self.name}/{stem}{self.suffix}"

    def files(self, path: Path) -> tuple[Path, ...]:
        """Every file of an export at `path`: itself, those of its stem beside it, or all in it where it is a folder."""
        if path.is_dir():
            return tuple(sorted(file for file in path.rglob("*") if file.is_file()))
        return tuple(sorted(file for file in path.parent.iterdir() if file.stem == path.stem and file.is_file()))

    def why_not_here(self, precision: Precision | None = None) -> str:
        """Why this machine can't run its files (in `precision`); empty where it can. Imports nothing."""
        if sys.platform not in self.systems:
            return f"{self.title} does not run on {sys.platform}"
        for module in self.run_modules:
            if not has_module(module):
                return f"{module} is not installed"
        if precision == "bfloat16" and not has_bfloat16():
            return "this CPU has no bfloat16 arithmetic"
        return ""

    def fed(self, facts: Embedded, *, with_preprocess: bool = False) -> Embedded:
        """`facts` as an export of this target holds them: the layout it is fed, and what it does itself."""
        inside = self.with_preprocess if with_preprocess else "nothing"
        if with_preprocess and inside == "nothing":
            raise UsageError(f"{self.name} files can't hold preprocessing")
        if inside == "nothing":
            return replace(facts, preprocess=replace(facts.preprocess, layout=self.layout))
        return replace(facts, preprocess=replace(facts.preprocess, layout="nhwc", dtype="uint8"), inside=inside)

    def open(self, path: Path, *, threads: int = 1) -> Session:
        """Load a file of this target. Raises MissingRuntime where its runtime is not installed or does not run here."""
        if threads < 1:
            raise UsageError(f"threads must be at least 1, not {threads}")
        if sys.platform not in self.systems:
            raise MissingRuntime(f"{self.title} does not run on {sys.platform}")
        self.require(self.run_modules, self.run_extra)
        opener: Opener = self._resolved(self.opener)
        return opener(path, threads=threads)

    def export(self, source: Source, path: Path, *, facts: Embedded) -> None:
        """Write a network as a file of this target, in the precision that `facts` names.

        facts: of the model; `fed` makes them this target's. Raises: UsageError for a precision that the target lacks,
            a form that it can't take or a network that can't be exported; MissingRuntime where the exporter is not
            installed.
        """
        self.require(self.export_modules, self.export_extra)
        exporter: Exporter = self._resolved(self.exporter)
        facts = self.fed(facts, with_preprocess=source.form.with_preprocess)
        exporter(source, path, facts=facts, precision=self.precision(facts.precision))

    def inspect(self, path: Path, *, precision: Precision) -> Structure:
        """What a file of this target consists of."""
        inspector: Inspector = self._resolved(self.inspector)
        return inspector(path, precision=precision)

    def layers_of(self, path: Path, batch: NDArray[np.generic]) -> Iterator[tuple[str, NDArray[Any]]]:
        """The outputs of a file's inner operators; none where its runtime does not show them."""
        if not self.layers:
            return iter(())
        layers: Layers = self._resolved(self.layers)
        return layers(path, batch)

    def prepared_by(self, path: Path) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
        """What a file with everything inside makes of pictures (N, H, W, 3): the tensors (N, C, h, w) that go into its
        network. Raises: BadModelFile for a file that holds no such part."""
        preparer: Preparer = self._resolved(self.preparer)
        return preparer(path)

    def try_runtime(self) -> None:
        """Run a tiny graph in the runtime. Raises what stands in the way."""
        probe: Callable[[], None] = self._resolved(self.probe)
        probe()

    def _resolved(self, name: str) -> Any:
        return getattr(importlib.import_module(self.module, __package__), name)

    def precision(self, name: str) -> Precision:
        """`name` as a precision of this target. Raises UsageError naming those it has."""
        for precision in self.precisions:
            if precision == name:
                return precision
        raise UsageError(f"{self.name} has no precision {name!r}; it has {', '.join(self.precisions)}")

    @staticmethod
    def require(modules: tuple[str, ...], extra: str) -> None:
        """Raises MissingRuntime with its install line for the first module that can't be found."""
        for module in modules:
            if not has_module(module):
                if extra:
                    raise MissingRuntime.extra(module, extra)
                raise MissingRuntime(f"{module} is not installed", hint="pip install --upgrade mobilenets")


def has_module(module: str) -> bool:
    """Whether `module` could be imported, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ValueError, ModuleNotFoundError):  # ValueError: sys.modules holds None in its place, which blocks it
        return False


EVERYWHERE = ("linux", "darwin", "win32")
TARGETS: dict[str, Target] = {
    row.name: row
    for row in (
        Target(
            name="onnx",
            title="ONNX Runtime",
            module=".onnx",
            suffix=".onnx",
            precisions=("float32", "float16"),
            layout="nchw",
            with_preprocess="everything",
            run_extra="",
            export_extra="train",
            run_modules=("onnxruntime",),
            export_modules=("torch", "onnx", "onnxscript"),
            systems=EVERYWHERE,
            exporter="export_onnx",
            opener="open_onnx",
            inspector="inspect_onnx",
            probe="probe_onnx",
            layers="layers_onnx",
            preparer="preparing_onnx",
        ),
        Target(
            name="litert",
            title="LiteRT",
            module=".litert.target",
            suffix=".tflite",
            precisions=("float32", "float16"),
            layout="nhwc",
            with_preprocess="normalise",
            run_extra="litert",
            export_extra="litert",
            run_modules=("ai_edge_litert",),
            export_modules=("torch", "onnx", "onnxscript", "ai_edge_litert"),
            systems=("linux", "darwin", "win32"),
            exporter="export_litert",
            opener="open_litert",
            inspector="inspect_litert",
            probe="probe_litert",
            layers="layers_litert",
        ),
        Target(
            name="openvino",
            title="OpenVINO",
            module=".openvino",
            suffix=".xml",
            precisions=("float32", "float16", "bfloat16"),
            layout="nchw",
            with_preprocess="everything",
            run_extra="openvino",
            export_extra="openvino",
            run_modules=("openvino",),
            export_modules=("torch", "onnx", "onnxscript", "openvino"),
            systems=EVERYWHERE,
            exporter="export_openvino",
            opener="open_openvino",
            inspector="inspect_openvino",
            probe="probe_openvino",
            layers="layers_openvino",
            preparer="preparing_openvino",
        ),
        Target(
            name="executorch",
            title="ExecuTorch",
            module=".executorch",
            suffix=".pte",
            precisions=("float32",),
            layout="nchw",
            with_preprocess="normalise",
            run_extra="executorch",
            export_extra="executorch",
            run_modules=("torch", "executorch"),
            export_modules=("torch", "executorch"),
            systems=("linux", "darwin"),
            exporter="export_executorch",
            opener="open_executorch",
            inspector="inspect_executorch",
            probe="probe_executorch",
        ),
        Target(
            name="coreml",
            title="Core ML",
            module=".coreml",
            suffix=".mlpackage",
            precisions=("float16", "float32"),
            layout="nchw",
            with_preprocess="normalise",
            run_extra="coreml",
            export_extra="coreml",
            run_modules=("coremltools",),
            export_modules=("torch", "coremltools"),
            systems=("darwin",),
            exporter="export_coreml",
            opener="open_coreml",
            inspector="inspect_coreml",
            probe="probe_coreml",
        ),
    )
}


def find_target(name: str) -> Target:
    """The row called `name`. Raises UnknownName with the closest names."""
    if name in TARGETS:
        return TARGETS[name]
    near = difflib.get_close_matches(name, TARGETS, n=3)
    guess = f"; did you mean {', '.join(near)}?" if near else ""
    raise UnknownName(f"no target called {name!r}{guess}", hint=f"targets: {', '.join(TARGETS)}")


def target_of(path: Path) -> Target:
    """The target whose files end as `path` does. Raises UsageError naming the suffixes there are."""
    for target in TARGETS.values():
        if path.suffix.lower() == target.suffix:
            return target
    known = ", ".join(target.suffix for target in TARGETS.values())
    raise UsageError(f"{path}: is no exported file of a known target ({known})")
