"""Answers on their way to a file, so that a job of a million pictures can be killed at any moment and taken up again.

While it runs, finished answers lie in a journal beside the output (`answers.csv.part`): a first line that names the
job, then one JSON line per picture in the order of the input, on the disk after every batch. The same call again skips
what is there. At the end the output is written whole from the journal, and the journal removed.
"""

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import MissingRuntime, UsageError
from ..files import replacing
from .fast import GATE_PICTURES
from .pictures import Picture, Pictures, listed
from .run import BATCH, Begun, Model
from .targets import has_module

FORMAT = 1
SUFFIXES = (".csv", ".json", ".jsonl", ".parquet")
COLUMNS = ("file", "label", "probability", "top", "error")
SYNC_ROWS = 64
"""Rows between two fsyncs: about 0.3 s of work, which is all that a power cut can cost. SIGKILL costs less."""
FIRST = 5
"""How many of the unreadable files are named in `Written`."""
_PARQUET_ROWS = 10_000

Row = dict[str, Any]
Progress = Callable[[int], None]
"""Called with the number of pictures done."""


@dataclass(frozen=True, slots=True)
class Written:
    """What a job wrote. rows: of `file`, one per picture; resumed: how many of them an earlier run had answered;
    errors: how many could not be read, the first of them as (file, error)."""

    file: str
    rows: int
    resumed: int
    errors: int
    first_errors: tuple[tuple[str, str], ...]


def write_predictions(
    model: Model,
    source: Pictures,
    out: str | Path,
    *,
    top: int = 5,
    batch_size: int = BATCH,
    workers: int | None = None,
    fast: bool | None = None,
    on_progress: Progress | None = None,
) -> Written:
    """Answer every picture of `source` into the file `out`, in their order; call it again after any interruption.

    Args:
        source: as `Model.predict` takes it; the same pictures in the same order when the job is taken up again.
        out: .csv, .json, .jsonl or .parquet. JSON holds what `predict --json` prints; JSON lines one answer each; CSV
            and Parquet the columns file, label (empty for "none of these"), probability, top (the best labels as
            JSON: [["cat", 0.98], ...]) and error (empty where there is an answer).
        top, batch_size, workers, fast: as `Model.predict` takes them.

    Memory is bounded. A picture that can't be read stands in its place with its error.
    Raises: UsageError for another suffix, for a file that exists, for a journal of another job, for pictures that were
        added or removed since, for a full disk; MissingRuntime for Parquet without pyarrow.
    """
    place = Path(out)
    check_output(place)
    job: Row = {
        "format": FORMAT,
        "model": model.identity,
        "name": model.name,
        "top": top,
        "source": _named(source),
    }
    part = place.with_name(place.name + ".part")
    if place.exists() and not part.exists():
        raise UsageError(f"{place}: exists already and is not overwritten", hint="name another file, or remove it")
    try:
        resumed = _opened(part, job)
        pictures = listed(source)
        begun = Begun(resumed, _skip(part, pictures))
        stream = model.predict_named(pictures, top=top, batch_size=batch_size, workers=workers, fast=fast, begun=begun)
        count = 0
        with closing(stream), part.open("ab") as journal:
            for count, prediction in enumerate(stream, 1):
                journal.write(_line(prediction.as_dict()))
                if count % SYNC_ROWS == 0:
                    _sync(journal)
                    if on_progress is not None:
                        on_progress(resumed + count)
            _sync(journal)
        if not resumed + count:
            part.unlink()
            raise UsageError(f"{', '.join(job['source'])}: no pictures there")
        rows, errors, first = write_rows(place, journal_rows(part))
        part.unlink()
    except OSError as error:
        raise UsageError(f"{part}: can't be written: {error.strerror or error}") from error
    return Written(str(place), rows, resumed, errors, first)


def check_output(out: Path) -> None:
    """Raises UsageError for a file of no known format, MissingRuntime for Parquet without pyarrow."""
    if out.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{out}: answers are written as {', '.join(SUFFIXES)}")
    if out.suffix.lower() == ".parquet" and not has_module("pyarrow"):
        raise MissingRuntime.extra("pyarrow", "parquet")


def journal_rows(part: Path) -> Iterator[Row]:
    """The answers in a journal, first to last."""
    with part.open("rb") as journal:
        journal.readline()
        for line in journal:
            yield json.loads(line)


def write_rows(out: Path, rows: Iterable[Row]) -> tuple[int, int, tuple[tuple[str, str], ...]]:
    """Write the answers to `out`, whole or not at all; returns how many, how many errors, and the first of these."""
    tally = _Tally(rows)
    with replacing(out) as temporary:
        match out.suffix.lower():
            case ".csv":
                _write_csv(temporary, tally)
            case ".json":
                _write_json(temporary, tally)
            case ".jsonl":
                with temporary.open("wb") as file:
                    file.writelines(_line(row) for row in tally)
            case _:
                _write_parquet(temporary, tally)
    return tally.rows, tally.errors, tuple(tally.first)


def flat(row: Row) -> Row:
    """An answer as the columns of a table; what it does not have is None."""
    top = row.get("top")
    return {name: row.get(name) for name in COLUMNS} | {"top": None if top is None else json.dumps(top)}


class _Tally:
    """Rows that are counted as they go by."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._source = rows
        self.rows, self.errors = 0, 0
        self.first: list[tuple[str, str]] = []

    def __iter__(self) -> Iterator[Row]:
        for row in self._source:
            self.rows += 1
            if "error" in row:
                self.errors += 1
                if len(self.first) < FIRST:
                    self.first.append((row["file"], row["error"]))
            yield row


def _write_csv(path: Path, rows: Iterable[Row]) -> None:
    # File names may hold bytes that are no UTF-8; they come out as they went in.
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(flat(row) for row in rows)


def _write_json(path: Path, tally: _Tally) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write('{"schema": 1, "results": [')
        for row in tally:
            file.write(("\n" if tally.rows == 1 else ",\n") + json.dumps(row))
        file.write(f'\n], "errors": {tally.errors}}}\n')


def _write_parquet(path: Path, rows: Iterable[Row]) -> None:
    import pyarrow
    import pyarrow.parquet

    text, number = pyarrow.string(), pyarrow.float64()
    schema = pyarrow.schema([(name, number if name == "probability" else text) for name in COLUMNS])
    left = iter(rows)
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        while part := [flat(row) for row in islice(left, _PARQUET_ROWS)]:
            for row in part:
                row["file"] = row["file"].encode("utf-8", "surrogateescape").decode("utf-8", "replace")
            writer.write_table(pyarrow.Table.from_pylist(part, schema=schema))


def _opened(part: Path, job: Row) -> int:
    """The journal of this job, begun or found, without the torn line that a kill may leave; returns its rows."""
    first = _line(job)
    head = b""
    if part.exists():
        with part.open("rb") as journal:
            head = journal.readline()
    if not head.endswith(b"\n"):  # killed before the first line was whole
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as journal:
            journal.write(first)
            _sync(journal)
        return 0
    if head != first:
        raise UsageError(f"{part}: {_difference(head, job)}", hint="remove it to begin anew, or name another output")
    rows, whole = -1, 0
    with part.open("rb+") as journal:
        for line in journal:
            if not line.endswith(b"\n") or not _is_json(line):  # after a power cut a block may be zeros
                break
            rows, whole = rows + 1, whole + len(line)
        journal.truncate(whole)
        _sync(journal)
    return rows


def _difference(head: bytes, job: Row) -> str:
    """What tells the job of a journal from this one, in words."""
    try:
        other = json.loads(head)
        names = [name for name in job if other.get(name) != job[name]]
    except (ValueError, AttributeError):
        return "is no journal of answers"
    if "format" in names:
        return "is a journal of another version of this library"
    if "model" in names:
        return f"holds answers of another model ({other.get('name')})"
    return f"holds answers of another job, with another {' and '.join(names)}"


def _skip(part: Path, pictures: Iterator[tuple[str, Picture]]) -> tuple[Picture, ...]:
    """Take from `pictures` those that the journal has answered; returns the earliest, as many as the gate of the fast
    ways asks for. Raises UsageError where they are not the same."""
    earliest: list[Picture] = []
    for number, row in enumerate(journal_rows(part), 1):
        name, picture = next(pictures, ("nothing", b""))
        if row["file"] != name:
            raise UsageError(
                f"{part}: answer {number} is of {row['file']}, where the source has {name} now",
                hint=f"pictures were added or removed since; remove {part} to begin anew",
            )
        if len(earliest) < GATE_PICTURES:
            earliest.append(picture)
    return tuple(earliest)


def _named(source: Pictures) -> list[str]:
    """What the caller named, as the journal keeps it; pictures in memory by their kind alone."""
    if isinstance(source, (str, os.PathLike)):
        return [os.fspath(source)]
    if isinstance(source, Sequence) and not isinstance(source, (bytes, bytearray)):
        return [os.fspath(one) if isinstance(one, (str, os.PathLike)) else type(one).__name__ for one in source]
    return [type(source).__name__]


def _line(row: Row) -> bytes:
    return json.dumps(row).encode() + b"\n"  # ASCII: names that are no UTF-8 survive as escapes


def _is_json(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
