"""A model file, loaded to be used: pictures in, checked answers out. numpy, Pillow and one runtime; no torch.

`load(path).predict("cat.jpg")` is the whole interface. What runs is the exported file whose answers were verified
against the trained network, fed by the preprocess record and read by the calibration that travel with it.
"""

import hashlib
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

import numpy as np

from ..bundle import ExportRecord, ModelFile
from ..errors import MissingRuntime, MobilenetsError, UsageError, VerifyFailed
from ..files import sha256
from ..records import Calibration, Labels, Preprocess
from ..tasks import Decoding, Result, decoding
from . import fast as fast_path
from .embedded import Inside
from .fast import Way
from .machine import usable_cores
from .pictures import Picture, Pictures, Prepare, Tensor, batches, in_order, listed, prepared, preparing
from .targets import TARGETS, Session, find_target, target_of

BATCH = 4
"""On one thread batches of 4 give up to 25 % more images a second than single ones; larger ones leave its cache: at 8,
V2 and V3-Large lose 10 to 14 % again (Zen 3, 1 MiB a core)."""
FEW = 4
"""Streams of fewer batches are answered at once rather than by workers."""
DECODERS = 4
"""Decoding threads where one batch is waited for: each may hold one picture of up to 64 megapixels."""
WORKERS = 8
"""Workers of a long stream at most, each with a session of its own; more cores are for more processes."""

_Named = tuple[str, Picture]


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


@dataclass(frozen=True, slots=True)
class Begun:
    """What of a job was answered before it is taken up again: how many pictures, and the earliest of them. They count
    when its length is asked for, and the gate of the fast ways asks them again: a job goes on as it was begun."""

    count: int = 0
    earliest: tuple[Picture, ...] = ()


@dataclass(slots=True, eq=False)
class _Kept:
    """What a model keeps from one stream to the next: sessions that no worker uses, and which fast ways have
    passed their gate."""

    idle: list[Session] = field(default_factory=list)
    ways: dict[str, bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A model ready to answer; made by `load`. Safe to use from several threads.

    preprocess: as the file is fed; inside: what of it the file does itself. source: the path that was loaded.
    identity: SHA-256 that names this model and this exported file of it. reopen: another session, with one thread.
    """

    name: str
    labels: Labels
    preprocess: Preprocess
    calibration: Calibration
    decoding: Decoding
    session: Session
    target: str
    precision: str
    inside: Inside
    source: Path
    identity: str
    reopen: Callable[[], Session]
    _kept: _Kept = field(default_factory=_Kept, init=False, repr=False)

    def predict(
        self,
        source: Pictures,
        *,
        top: int = 5,
        batch_size: int = BATCH,
        workers: int | None = None,
        fast: bool | None = None,
    ) -> tuple[Prediction, ...]:
        """One prediction per picture, in order.

        Args:
            source: a path, a folder (its pictures at any depth, sorted), bytes, an open binary file, an array
                uint8 (H, W, 3) or (N, H, W, 3), or a list of these.
            top: how many labels each answer tells, best first.
            batch_size: pictures that go through the network at once.
            workers: threads that take a batch each from its files to its answers, on one core; by default as many as
                there are cores, at most 8. Of fewer than four batches the pictures are decoded by these threads, at
                most 4, and answered by the runtime's own.
            fast: whether a fast image path (fast.py: by torch where it is installed) may be taken. None: for streams
                that repay it. True: for any. In both cases only once its gate has passed: pixels within 2 levels and
                the same answers, on 64 pictures: the model's golden ones, and the first of the stream.

        A picture that can't be read does not stop the others: its prediction carries the error.
        Raises: UsageError for what is no picture at all; CheckFailed where the network answers NaN.
        """
        return tuple(self.predict_stream(source, top=top, batch_size=batch_size, workers=workers, fast=fast))

    def predict_stream(
        self,
        source: Pictures,
        *,
        top: int = 5,
        batch_size: int = BATCH,
        workers: int | None = None,
        fast: bool | None = None,
    ) -> Generator[Prediction, None, None]:
        """As `predict`, one at a time and in bounded memory, for folders of any size and for endless iterables."""
        return self.predict_named(listed(source), top=top, batch_size=batch_size, workers=workers, fast=fast)

    def predict_named(
        self,
        pictures: Iterator[_Named],
        *,
        top: int = 5,
        batch_size: int = BATCH,
        workers: int | None = None,
        fast: bool | None = None,
        begun: Begun = Begun(),
    ) -> Generator[Prediction, None, None]:
        """As `predict_stream`, of pictures that have their names already, as `pictures.listed` gives them.

        begun: what of this job was answered earlier.
        """
        threads = usable_cores() if workers is None else workers
        if min(top, batch_size, threads) < 1:
            raise UsageError(f"top, batch_size and workers must be at least 1, not {top}, {batch_size} and {threads}")
        size = 1 if self.inside == "everything" else batch_size
        first = list(islice(pictures, FEW * batch_size))
        if begun.count + len(first) < FEW * batch_size and not fast:
            yield from self._few(first, size, min(DECODERS, threads), top)
        else:
            workers = min(WORKERS, threads) if workers is None else threads
            yield from self._many(first, pictures, size, batch_size, workers, top, fast, begun)

    def _few(self, pictures: Sequence[_Named], size: int, threads: int, top: int) -> Iterator[Prediction]:
        """Pictures decoded side by side, then answered with every thread of the runtime: the shortest wait."""
        prepare = preparing(self.preprocess, self.inside)
        stream = in_order(pictures, lambda one: prepared(*one, prepare), workers=threads, ahead=2 * size + threads)
        for items, batch in batches(stream, size):
            yield from self._answers(items, None if batch is None else self.session.run(batch), top)

    def _many(
        self,
        first: list[_Named],
        rest: Iterator[_Named],
        size: int,
        chunk: int,
        workers: int,
        top: int,
        fast: bool | None,
        begun: Begun,
    ) -> Iterator[Prediction]:
        """Each worker takes `chunk` pictures from their files to their answers, on a session of its own with one
        thread: no core ever waits for another, and the most pictures a second come out."""
        first, prepare, starting = self._way(first, rest, fast, begun)
        idle = self._kept.idle  # a list's pop and append are whole: no session is used by two workers at once

        def work(part: tuple[_Named, ...]) -> list[Prediction]:
            try:
                session = idle.pop()
            except IndexError:
                session = self.reopen()
            done: list[Prediction] = []
            for items, batch in batches((prepared(*one, prepare) for one in part), size):
                done += self._answers(items, None if batch is None else session.run(batch), top)
            idle.append(session)
            return done

        pictures = chain(first, rest)
        chunks = iter(lambda: tuple(islice(pictures, chunk)), ())
        for done in in_order(chunks, work, workers=workers, ahead=workers + 1, starting=starting):
            yield from done

    def _way(
        self, first: list[_Named], rest: Iterator[_Named], fast: bool | None, begun: Begun
    ) -> tuple[list[_Named], Prepare, Callable[[], None] | None]:
        """How this stream's pictures become tensors, with what was looked at of it so far.

        Only paths are looked at ahead: of pictures in memory nobody knows how many may be held.
        """
        slow = preparing(self.preprocess, self.inside)
        if self.inside == "everything" or fast is False:
            return first, slow, None
        while (
            not fast
            and first
            and begun.count + len(first) < fast_path.look_ahead()
            and isinstance(first[-1][1], (str, os.PathLike))
            and (one := next(rest, None)) is not None
        ):
            first.append(one)
        proofs = [picture for picture in (*begun.earliest, *(one for _, one in first)) if not hasattr(picture, "read")]
        for way in fast_path.ways_for(self.preprocess, begun.count + len(first), asked=bool(fast)):
            if self._proved(way, proofs):
                return first, way.preparing(self.preprocess), way.starting
        return first, slow, None

    def _proved(self, way: Way, pictures: Sequence[Picture]) -> bool:
        """Whether a fast way passes its gate, asked once: on the golden pictures, and on these."""
        if way.name not in self._kept.ways:
            proofs = [*self._golden(), *pictures]
            passed = fast_path.gate(way, proofs, self.preprocess, self.session, self.decoding)
            if passed is None:
                return False
            self._kept.ways[way.name] = passed
        return self._kept.ways[way.name]

    def _golden(self) -> tuple[bytes, ...]:
        """The golden pictures that came with the model: none with a bare exported file, and no synthetic ones, since
        nothing photographed looks like them."""
        if _is_exported(self.source):
            return ()
        golden = ModelFile.open(self.source).golden()
        return () if golden.index.kind == "synthetic" else golden.encoded

    def _answers(self, items: Sequence[Tensor], outputs: object, top: int) -> Iterator[Prediction]:
        """The predictions for a run of pictures; outputs: of those among them that could be read."""
        results: Iterator[Result] = iter(())
        if outputs is not None:
            results = iter(self.decoding.decode(outputs, labels=self.labels, calibration=self.calibration, top=top))
        for item in items:
            if item.error is None:
                yield Prediction(item.file, next(results))
            else:
                yield Prediction(item.file, None, f"{item.error.kind}: {item.error.cause}")


def load(
    path: str | Path, *, target: str | None = None, precision: str | None = None, threads: int | None = None
) -> Model:
    """The model at `path`: a model file (folder or zip), or one exported file that this library wrote (.onnx, .tflite,
    .xml, .pte).

    Args:
        target, precision: which exported file to run; by default the first verified one whose runtime is here.
        threads: of the runtime within one batch; by default every core that this process may use.

    Raises: BadModelFile for a damaged or foreign file; VerifyFailed where its export was never proved;
        MissingRuntime where no runtime for it is installed.
    """
    place = Path(path)
    count = usable_cores() if threads is None else threads
    if _is_exported(place):
        return _from_exported(place, target=target, precision=precision, threads=count)
    model = ModelFile.open(place)
    record, export = model.record, _runnable(model, target, precision)
    row, file = find_target(export.target), model.local(export.file)
    session = row.open(file, threads=count)
    facts = session.facts
    return _warmed(
        Model(
            name=record.name,
            labels=record.labels,
            preprocess=record.preprocess if facts is None else facts.preprocess,
            calibration=record.calibration,
            decoding=decoding(record.task),
            session=session,
            target=export.target,
            precision=export.precision,
            inside="nothing" if facts is None else facts.inside,
            source=place,
            identity=_digest(model.seal, export.file),
            reopen=lambda: row.open(file, threads=1),
        )
    )


def _is_exported(path: Path) -> bool:
    """Whether `path` is one exported file (a Core ML package is a folder) rather than a model file."""
    known = path.suffix.lower() in {row.suffix for row in TARGETS.values()}
    return known and (path.is_file() or (path.is_dir() and path.suffix.lower() == TARGETS["coreml"].suffix))


def _from_exported(path: Path, *, target: str | None, precision: str | None, threads: int) -> Model:
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
    if precision not in (None, facts.precision):
        raise UsageError(f"{path}: is in {facts.precision}, not in {precision}")
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
            inside=facts.inside,
            source=path,
            identity=_digest(*(sha256(file) for file in row.files(path))),
            reopen=lambda: row.open(path, threads=1),
        )
    )


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _runnable(model: ModelFile, target: str | None, precision: str | None) -> ExportRecord:
    """The first export that is asked for, verified, and can run here; else the error that says what is wanting."""
    wanted = [find_target(target).name] if target is not None else list(TARGETS)
    held = model.record.exports
    exports = [e for e in held if e.target in wanted and precision in (None, e.precision)]
    if not exports:
        asked = (f" for {target}" if target else "") + (f" in {precision}" if precision else "")
        there = ", ".join(f"{e.target} in {e.precision}" if precision else e.target for e in held) or "none"
        raise UsageError(f"{model.path}: has no exported file{asked}; it holds {there}")
    verified = [export for export in exports if export.verified]
    if not verified:
        raise VerifyFailed(
            f"{model.path}: {exports[0].file} was never proved to answer as the trained network does",
            hint=f"mobilenets verify {model.path}",
        )
    for export in verified:
        row = TARGETS[export.target]
        if not row.why_not_here(row.precision(export.precision)):
            return export
    row = TARGETS[verified[0].target]
    row.require(row.run_modules, row.run_extra)
    why = row.why_not_here(row.precision(verified[0].precision))
    raise MissingRuntime(why) if why else MobilenetsError(f"{model.path}: {row.title} is here and yet can't be used")


def _warmed(model: Model) -> Model:
    """The model after one empty picture: its file fits its facts, and the first real picture does not wait."""
    record = model.preprocess
    shape = (record.channels, *record.size_px) if record.layout == "nchw" else (*record.size_px, record.channels)
    outputs = model.session.run(np.zeros((1, *shape), record.dtype))
    model.decoding.decode(outputs, labels=model.labels, calibration=model.calibration, top=1)
    return model
