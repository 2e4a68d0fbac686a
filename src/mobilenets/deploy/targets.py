"""The targets there are, one row each: what a network can be exported to, checked, timed and run in.

A new target is one file (its exporter, its session, its probe) and one row here; export, verify, bench, doctor, the
model file and the tests walk this table and know no target by name.
"""

import difflib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import MissingRuntime, UnknownName, UsageError
from ..tasks.interface import Outputs
from .embedded import Embedded

if TYPE_CHECKING:
    from torch import nn

Precision = Literal["float32"]


class Session(Protocol):
    """A loaded file, ready to run in its own runtime."""

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """What it is fed, batch first; None where any length will do."""
        ...

    @property
    def output_names(self) -> tuple[str, ...]: ...

    @property
    def facts(self) -> Embedded | None:
        """What was written into the file with it; None in a file that another program wrote."""
        ...

    def run(self, batch: NDArray[np.generic]) -> Outputs:
        """The outputs for a batch: one array (N, ...), or a tuple of them where there are several output names.

        Raises: BadData for a batch of another shape or type.
        """
        ...


class Exporter(Protocol):
    def __call__(self, network: "nn.Module", path: Path, *, facts: Embedded, precision: Precision) -> None:
        """Write `network` to `path`, whole or not at all, with `facts` inside it; the network stays as it was."""
        ...


class Opener(Protocol):
    def __call__(self, path: Path, *, threads: int) -> Session:
        """Load an exported file. Raises BadModelFile for one that the runtime refuses."""
        ...


@dataclass(frozen=True, slots=True)
class Target:
    """One row of the table.

    name: as `--target` takes it; title: as people call it; suffix: of its files.
    run_extra, export_extra: the extras of this library that bring what running and exporting need ("": the core).
    run_modules, export_modules: what must be importable for each. systems: `sys.platform` values where it runs.
    exporter, opener, probe: resolved when called, so that no runtime is imported before it is used; a probe runs a
    tiny graph in the runtime and raises what the runtime raises.
    """

    name: str
    title: str
    suffix: str
    precisions: tuple[Precision, ...]
    run_extra: str
    export_extra: str
    run_modules: tuple[str, ...]
    export_modules: tuple[str, ...]
    systems: tuple[str, ...]
    exporter: Callable[[], Exporter]
    opener: Callable[[], Opener]
    probe: Callable[[], Callable[[], None]]

    def file_name(self, precision: Precision) -> str:
        """Where an export lies inside a model file."""
        stem = "model" if precision == self.precisions[0] else f"model_{precision}"
        return f"{self.name}/{stem}{self.suffix}"

    def open(self, path: Path, *, threads: int = 1) -> Session:
        """Load a file of this target. Raises MissingRuntime where its runtime is not installed."""
        if threads < 1:
            raise UsageError(f"threads must be at least 1, not {threads}")
        self.require(self.run_modules, self.run_extra)
        return self.opener()(path, threads=threads)

    def export(self, network: "nn.Module", path: Path, *, facts: Embedded) -> None:
        """Write `network` as a file of this target, in the precision that `facts` names.

        Raises: UsageError for a precision that the target lacks or a network that can't be exported;
            MissingRuntime where the exporter is not installed.
        """
        self.require(self.export_modules, self.export_extra)
        self.exporter()(network, path, facts=facts, precision=self.precision(facts.precision))

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


def _export_onnx() -> Exporter:
    from .onnx import export_onnx

    return export_onnx


def _open_onnx() -> Opener:
    from .onnx import open_onnx

    return open_onnx


def _probe_onnx() -> Callable[[], None]:
    from .onnx import probe_onnx

    return probe_onnx


TARGETS: dict[str, Target] = {
    row.name: row
    for row in (
        Target(
            name="onnx",
            title="ONNX Runtime",
            suffix=".onnx",
            precisions=("float32",),
            run_extra="",
            export_extra="train",
            run_modules=("onnxruntime",),
            export_modules=("torch", "onnx", "onnxscript"),
            systems=("linux", "darwin", "win32"),
            exporter=_export_onnx,
            opener=_open_onnx,
            probe=_probe_onnx,
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
