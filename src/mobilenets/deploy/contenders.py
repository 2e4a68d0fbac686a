"""What is to be timed: model files, exported files, and networks by name, each as files of the targets asked for.

A network is traced once for all its targets. What a target can't take, or what can't run here, is left out with the
reason; only where nothing is left is that an error.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..bundle import ModelFile
from ..bundle.manifest import MANIFEST
from ..errors import MissingRuntime, MobilenetsError, UsageError
from ..measure import cost
from ..records import LeftOut
from ..specs import Spec, resolve
from .targets import TARGETS, Precision, Session, Target, find_target, target_of

ALL = "all"
Asked: TypeAlias = str | Path | Spec
"""A model file, an exported file, or what `resolve` takes: a network's name, a .json spec, a Spec."""
Step: TypeAlias = Callable[[str], None]
Refused: TypeAlias = list[tuple[LeftOut, MobilenetsError]]


@dataclass(frozen=True, slots=True)
class Contender:
    """One file to be timed: the name of its row, its target and precision, and where it lies.

    spec: of the network, None where a file alone does not tell it. size_px: (h, w) it is fed, (0, 0) where the file
    does not say. trained: whether asking for its accuracy makes sense.
    """

    network: str
    target: Target
    precision: str
    path: Path
    spec: Spec | None = None
    size_px: tuple[int, int] = (0, 0)
    trained: bool = True

    @property
    def macs(self) -> int:
        """Of one image; 0 where the network is not known."""
        return 0 if self.spec is None else cost(self.spec, resolution_px=self.size_px).macs

    @property
    def file_mb(self) -> float:
        """All files of the export."""
        return sum(file.stat().st_size for file in self.target.files(self.path)) / 1e6


@dataclass(frozen=True, slots=True)
class Variation:
    """What `resolve` is told of networks by name."""

    alpha: float | None = None
    resolution_px: tuple[int, int] | None = None
    classes: int | None = None
    in_channels: int | None = None

    def of(self, network: Asked) -> Spec:
        return resolve(
            network,
            alpha=self.alpha,
            resolution_px=self.resolution_px,
            classes=self.classes,
            in_channels=self.in_channels,
        )


AS_IT_IS = Variation()


def find_contenders(
    sources: Sequence[Asked],
    *,
    targets: Sequence[str],
    precisions: Sequence[str] = (),
    folder: Path,
    variation: Variation = AS_IT_IS,
    on_step: Step | None = None,
) -> tuple[tuple[Contender, ...], tuple[LeftOut, ...]]:
    """The files to time, and what is left out.

    Args:
        targets: names, or "all" for every one that runs here.
        precisions: names, or "all"; by default a network's first one per target, and every one that a file holds.
        folder: where networks by name are exported to, untrained.
        variation: of networks by name.

    Raises: UnknownName; BadModelFile for a damaged file; the first reason (UsageError, MissingRuntime) where nothing
        is left.
    """
    rows = list(TARGETS.values()) if ALL in targets else [find_target(name) for name in dict.fromkeys(targets)]
    _check(precisions)
    found: list[Contender] = []
    refused: Refused = []
    usable = []
    for row in rows:
        try:
            _require(row)
            usable.append(row)
        except MissingRuntime as missing:
            refused.append((LeftOut("", row.name, "", missing.message), missing))
    for index, source in enumerate(sources):
        given = _given(source)
        if given is None:
            found += _untrained(
                variation.of(source), usable, precisions, Path(folder, str(index)), refused=refused, on_step=on_step
            )
        else:
            found += _held(source, given, rows, precisions, refused=refused)
    if not found:
        raise refused[0][1]
    return tuple(found), tuple(dict.fromkeys(left for left, _ in refused))


def is_published(spec: Spec) -> bool:
    """Whether a spec is the catalogue's network of its name, at whatever width, size, classes and channels."""
    try:
        known = resolve(
            spec.name,
            alpha=spec.alpha,
            resolution_px=spec.resolution_px,
            classes=spec.classes,
            in_channels=spec.in_channels,
        )
    except UsageError:
        return False
    return known == spec


def noise_for(session: Session, batch: int, size_px: tuple[int, int], *, seed: int = 0) -> NDArray[np.generic]:
    """A batch of noise in the shape and type that a session takes; `size_px` where it takes any size.

    Raises: UsageError where the file takes any size and nothing says which.
    """
    _, *sides = session.input_shape
    free = [axis for axis, side in enumerate(sides) if side is None]
    if free and not all(size_px):
        raise UsageError("takes pictures of any size, so it can't be timed without one")
    sizes = dict(zip(free, size_px, strict=False))  # the free ones are height and width, in this order
    shape = (batch, *(side if side is not None else sizes.get(axis, 1) for axis, side in enumerate(sides)))
    rng = np.random.default_rng(seed)
    if session.input_dtype == np.float32:
        return rng.standard_normal(shape, np.float32)
    return rng.integers(0, 256, shape, np.uint8).view(session.input_dtype)


def _check(precisions: Sequence[str]) -> None:
    known = {precision for row in TARGETS.values() for precision in row.precisions}
    if unknown := [name for name in precisions if name not in known and name != ALL]:
        raise UsageError(f"no target has a precision {unknown[0]!r}; there are {', '.join(sorted(known))}")


def _require(row: Target, precision: Precision | None = None) -> None:
    """Raises MissingRuntime, with its install line where there is one, for what can't run on this machine."""
    if reason := row.why_not_here(precision):
        if sys.platform in row.systems:
            row.require(row.run_modules, row.run_extra)
        raise MissingRuntime(reason)


def _held(
    source: Asked, given: Sequence[Contender], rows: Sequence[Target], precisions: Sequence[str], *, refused: Refused
) -> list[Contender]:
    """Those of a file's contenders that are asked for and run here; why not goes to `refused`."""
    found = []
    rows = [contender.target for contender in given] if _is_file(source) else rows
    for row in rows:
        mine = [contender for contender in given if contender.target == row]
        if not mine and not row.why_not_here():
            error = UsageError(f"{source}: has no exported file for {row.name}")
            refused.append((LeftOut(str(source), row.name, "", "has no exported file for it"), error))
        for contender in mine:
            try:
                _require(row, row.precision(contender.precision))
                if precisions and ALL not in precisions and contender.precision not in precisions:
                    raise UsageError(f"{contender.path}: is in {contender.precision}")
                found.append(contender)
            except (MissingRuntime, UsageError) as error:
                refused.append((LeftOut(contender.network, row.name, contender.precision, error.message), error))
    return found


def _untrained(
    spec: Spec,
    rows: Sequence[Target],
    precisions: Sequence[str],
    folder: Path,
    *,
    refused: Refused,
    on_step: Step | None,
) -> list[Contender]:
    """`spec` exported for each target and precision from one trace; what can't be goes to `refused`."""
    from .untrained import export_untrained, untrained_source

    found: list[Contender] = []
    source = None
    for row in rows:
        for name in row.precisions if ALL in precisions else precisions or row.precisions[:1]:
            try:
                precision = row.precision(name)
                _require(row, precision)
                if on_step is not None:
                    on_step(f"exporting {spec.name} for {row.title} in {precision}")
                source = untrained_source(spec) if source is None else source
                path = folder / row.file_name(precision)
                export_untrained(spec, path, target=row, precision=precision, source=source)
            except (MissingRuntime, UsageError) as error:
                refused.append((LeftOut(spec.name, row.name, name, error.message), error))
                continue
            found.append(Contender(spec.name, row, precision, path, spec, spec.resolution_px, trained=False))
    return found


def _is_file(source: Asked) -> bool:
    """Whether a source is one exported file: its name says its target, whatever targets were asked for."""
    return not isinstance(source, Spec) and Path(source).suffix.lower() in {row.suffix for row in TARGETS.values()}


def _given(source: Asked) -> list[Contender] | None:
    """The contenders of a source that is a file already; None for a network that has yet to be exported."""
    if isinstance(source, Spec):
        return None
    path = Path(source)
    if _is_file(path):
        target = target_of(path)
        if not path.exists():
            raise UsageError(f"{path}: no such file")
        _require(target)
        facts = target.open(path).facts
        if facts is None:
            return [Contender(path.name, target, target.precisions[0], path, trained=False)]
        size_px = facts.preprocess.size_px
        return [Contender(facts.name, target, facts.precision, path, size_px=size_px)]
    is_folder = path.is_dir() and (isinstance(source, Path) or path.parts != (str(source),))
    if is_folder or (path / MANIFEST).is_file() or path.suffix.lower() == ".zip":
        model = ModelFile.open(path)
        record = model.record
        return [
            Contender(
                record.name,
                find_target(export.target),
                export.precision,
                model.local(export.file),
                record.spec,
                record.preprocess.size_px,
            )
            for export in record.exports
        ]
    return None
