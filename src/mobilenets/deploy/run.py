"""A model file, loaded to be used: pictures in, checked answers out. numpy, Pillow and one runtime; no torch.

`load(path).predict("cat.jpg")` is the whole interface. What runs is the exported file whose answers were verified
against the trained network, fed by the preprocess record and read by the calibration that travel with it.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..bundle import ExportRecord, ModelFile
from ..errors import MissingRuntime, MobilenetsError, UsageError, VerifyFailed
from ..records import Calibration, Labels, Preprocess
from ..tasks import Decoding, Result, decoding
from .machine import usable_cores
from .pictures import Pictures, batches, listed, tensors
from .targets import TARGETS, Session, find_target, has_module, target_of

BATCH = 8
"""Batch 8 gives up to 40 % more images a second than batch 1 (measured with V3-Large on two cores)."""
DECODERS = 4
"""Decoding threads at most: each may hold one picture of up to 64 megapixels."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer about one picture, or why there is none.

    file: the picture's path, or a name for one that has none. result: the task's answer (a Classification).
    error: the kind and the cause where the picture could not be read; result is None then.
    """

    file: str
    result: Result | None
    error: str | None = None

    def as_dict(self) -> dict[str, object]:
        """The answer, or {"file", "error"}, as plain JSON values."""
        return {"file": self.file, "error": self.error} if self.result is None else self.result.as_dict(self.file)


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A model ready to answer; made by `load`. Safe to use from several threads."""

    name: str
    labels: Labels
    preprocess: Preprocess
    calibration: Calibration
    decoding: Decoding
    session: Session
    target: str
    precision: str

    def predict(
        self, source: Pictures, *, top: int = 5, batch_size: int = BATCH, workers: int | None = None
    ) -> tuple[Prediction, ...]:
        """One prediction per picture, in order.

        Args:
            source: a path, a folder (its pictures at any depth, sorted), bytes, an open binary file, an array
                uint8 (H, W, 3) or (N, H, W, 3), or a list of these.
            top: how many labels each answer tells, best first.
            batch_size: pictures that go through the network at once.
            workers: decoding threads; by default as many as there are cores, at most 4.

        A picture that can't be read does not stop the others: its prediction carries the error.
        Raises: UsageError for what is no picture at all; CheckFailed where the network answers NaN.
        """
        return tuple(self.predict_stream(source, top=top, batch_size=batch_size, workers=workers))

    def predict_stream(
        self, source: Pictures, *, top: int = 5, batch_size: int = BATCH, workers: int | None = None
    ) -> Iterator[Prediction]:
        """As `predict`, one at a time and in bounded memory, for folders of any size and for endless iterables."""
        if top < 1 or batch_size < 1:
            raise UsageError(f"top and batch_size must be at least 1, not {top} and {batch_size}")
        threads = min(DECODERS, usable_cores()) if workers is None else workers
        stream = tensors(listed(source), self.preprocess, workers=threads, ahead=2 * batch_size + threads)
        for items, batch in batches(stream, batch_size):
            results: Iterator[Result] = iter(())
            if batch is not None:
                outputs = self.session.run(batch)
                results = iter(self.decoding.decode(outputs, labels=self.labels, calibration=self.calibration, top=top))
            for item in items:
                if item.error is None:
                    yield Prediction(item.file, next(results))
                else:
                    yield Prediction(item.file, None, f"{item.error.kind}: {item.error.cause}")


def load(path: str | Path, *, target: str | None = None, threads: int | None = None) -> Model:
    """The model at `path`: a model file (folder or zip), or one exported file that this library wrote (.onnx).

    Args:
        target: which exported file to run; by default the first verified one whose runtime is here.
        threads: of the runtime within one batch; by default every core that this process may use.

    Raises: BadModelFile for a damaged or foreign file; VerifyFailed where its export was never proved;
        MissingRuntime where no runtime for it is installed.
    """
    place = Path(path)
    count = usable_cores() if threads is None else threads
    if place.is_file() and place.suffix.lower() in {row.suffix for row in TARGETS.values()}:
        return _from_exported(place, target=target, threads=count)
    model = ModelFile.open(place)
    export = _runnable(model, target)
    record = model.record
    session = find_target(export.target).open(model.local(export.file), threads=count)
    return _warmed(
        Model(
            name=record.name,
            labels=record.labels,
            preprocess=record.preprocess,
            calibration=record.calibration,
            decoding=decoding(record.task),
            session=session,
            target=export.target,
            precision=export.precision,
        )
    )


def _from_exported(path: Path, *, target: str | None, threads: int) -> Model:
    """A bare exported file, by the facts inside it."""
    row = target_of(path)
    if target is not None and find_target(target).name != row.name:
        raise UsageError(f"{path}: is a file for {row.name}, not for {target}")
    session = row.open(path, threads=threads)
    facts = session.facts
    if facts is None:
        raise UsageError(
            f"{path}: says nothing about labels and preprocessing, so it can't be used as it is",
            hint="load the model file it came from, or export it with this library",
        )
    return _warmed(
        Model(
            name=facts.name,
            labels=facts.labels,
            preprocess=facts.preprocess,
            calibration=facts.calibration,
            decoding=decoding(facts.task),
            session=session,
            target=row.name,
            precision=facts.precision,
        )
    )


def _runnable(model: ModelFile, target: str | None) -> ExportRecord:
    """The first export that is asked for, verified, and can run here; else the error that says what is wanting."""
    wanted = [find_target(target).name] if target is not None else list(TARGETS)
    exports = [export for export in model.record.exports if export.target in wanted]
    if not exports:
        held = ", ".join(export.target for export in model.record.exports) or "none"
        raise UsageError(f"{model.path}: has no exported file for {' or '.join(wanted)}; it holds {held}")
    verified = [export for export in exports if export.verified]
    if not verified:
        raise VerifyFailed(
            f"{model.path}: {exports[0].file} was never proved to answer as the trained network does",
            hint=f"mobilenets verify {model.path}",
        )
    for export in verified:
        row = TARGETS[export.target]
        if sys.platform in row.systems and all(has_module(module) for module in row.run_modules):
            return export
    row = TARGETS[verified[0].target]
    if sys.platform not in row.systems:
        raise MissingRuntime(f"{row.title} does not run on {sys.platform}")
    row.require(row.run_modules, row.run_extra)
    raise MobilenetsError(f"{model.path}: {row.title} is here and yet can't be used")


def _warmed(model: Model) -> Model:
    """The model after one empty picture: its file fits its facts, and the first real picture does not wait."""
    record = model.preprocess
    shape = (record.channels, *record.size_px) if record.layout == "nchw" else (*record.size_px, record.channels)
    outputs = model.session.run(np.zeros((1, *shape), record.dtype))
    model.decoding.decode(outputs, labels=model.labels, calibration=model.calibration, top=1)
    return model
