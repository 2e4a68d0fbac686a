"""The device log: what was measured where, one JSON object a line, written by `bench --log` or by hand.

A header line opens what one device measured: {"mobilenets_log": 1, "device": "pixel 8", "machine": {...} or null,
"notes": "..."}; only the first two are needed. Every other line is a row with the fields of `records.BenchRow`: needed
are network, target and median_ms, the others have defaults. Several logs become one by joining the files. Empty lines
and lines that begin with # are skipped.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from ..codec import decode, encode
from ..errors import BadData, UsageError
from ..files import write_atomic
from ..measure import cost
from ..records import Bench, BenchRow, Machine
from ..specs import Spec, resolve

LOG_FORMAT = 1
KEY = "mobilenets_log"
NEEDED = ("network", "target", "median_ms")
MOST_BYTES = 64 * 10**6


@dataclass(frozen=True, slots=True)
class DeviceRun:
    """What one header says and the rows under it. machine: None where left out; notes: anything (governor, heat)."""

    device: str
    rows: tuple[BenchRow, ...]
    machine: Machine | None = None
    notes: str = ""


def append_log(path: Path, bench: Bench, *, device: str = "", notes: str = "") -> str:
    """Add a run to the log at `path`, which is made where there is none; returns the device's name.

    device: by default the CPU's name. Raises: BadData where `path` holds something that is no log, UsageError where it
    can't be written.
    """
    if path.exists():
        read_log(path)
    name = device or bench.machine.cpu
    header = {KEY: LOG_FORMAT, "device": name, "machine": encode(bench.machine), "notes": notes}
    lines = [header, *(encode(replace(row, device=name)) for row in bench.rows)]
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    if text and not text.endswith("\n"):
        text += "\n"
    write_atomic(path, text + "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines))
    return name


def read_log(path: Path) -> tuple[DeviceRun, ...]:
    """The runs in a log, in its order. Raises: BadData naming file and line for what is no log; UsageError."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise BadData(f"{path}: larger than {MOST_BYTES // 10**6} MB; this is no device log")
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise BadData(f"{path}: not a text file") from error
    except OSError as error:
        raise UsageError(f"{path}: can't be read: {error.strerror or error}") from error
    runs: list[DeviceRun] = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        where = f"{path}: line {number}"
        try:
            data = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise BadData(f"{where}: not JSON: {getattr(error, 'msg', 'nested too deeply')}") from error
        if not isinstance(data, dict):
            raise BadData(f"{where}: must be an object in braces")
        if KEY in data:
            runs.append(_header(data, where))
        elif not runs:
            raise BadData(
                f"{where}: the first line must be a header",
                hint=f'{{"{KEY}": {LOG_FORMAT}, "device": "the name of the device"}}',
            )
        else:
            row = _row(data, runs[-1].device, where)
            runs[-1] = replace(runs[-1], rows=(*runs[-1].rows, row))
    if not runs:
        raise BadData(f"{path}: holds nothing; a device log begins with a header line")
    return tuple(runs)


def rows_of(runs: Sequence[DeviceRun], device: str | None = None) -> tuple[str, tuple[BenchRow, ...]]:
    """The device's name and its rows; of what was measured twice the last.

    device: may be left out where the log has only one. Raises: UsageError naming the devices there are.
    """
    names = list(dict.fromkeys(run.device for run in runs))
    if device is None and len(names) > 1:
        raise UsageError(f"the log has several devices: {', '.join(names)}; name one with --device")
    name = names[0] if device is None else device
    if name not in names:
        raise UsageError(f"the log has no device {name!r}; it has {', '.join(names)}")
    found: dict[object, BenchRow] = {}
    for run in runs:
        if run.device == name:
            for row in run.rows:
                key = (row.network, row.alpha, row.resolution_px, row.target, row.precision, row.threads, row.batch)
                found.pop(key, None)
                found[key] = row
    return name, tuple(found.values())


def _header(data: dict[str, Any], where: str) -> DeviceRun:
    version = data[KEY]
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise BadData(f"{where}: {KEY} is {version!r}, no version")
    if version > LOG_FORMAT:
        raise BadData(f"{where}: format {version} is newer than {LOG_FORMAT}", hint="pip install --upgrade mobilenets")
    unknown = data.keys() - {KEY, "device", "machine", "notes"}
    if unknown:
        raise BadData(f"{where}: unknown key {min(unknown)!r}; a header has device, machine and notes")
    device = decode(str, data.get("device", ""), where=f"{where}: device")
    if not device:
        raise BadData(f"{where}: the header names no device")
    machine = data.get("machine")
    read = None if machine is None else decode(Machine, machine, where=f"{where}: machine")
    return DeviceRun(device, (), read, decode(str, data.get("notes", ""), where=f"{where}: notes"))


def _row(data: dict[str, Any], device: str, where: str) -> BenchRow:
    """A row with its defaults; what follows from the network's name is filled in."""
    for key in NEEDED:
        if key not in data:
            raise BadData(f"{where}: lacks {key}; a row needs {', '.join(NEEDED)}")
    median_ms = decode(float, data["median_ms"], where=f"{where}: median_ms")
    batch = decode(int, data.get("batch", 1), where=f"{where}: batch")
    if not median_ms > 0 or batch < 1:
        raise BadData(f"{where}: median_ms and batch must be positive, not {median_ms:g} and {batch}")
    defaults = {
        "precision": "float32",
        "threads": 1,
        "batch": 1,
        "p90_ms": median_ms,
        "images_per_s": batch * 1e3 / median_ms,
        "file_mb": 0.0,
        **{field.name: encode(field.default) for field in fields(BenchRow) if field.name in _OPTIONAL},
    }
    row = decode(BenchRow, {**defaults, **data, "device": device}, where=where)
    spec = _spec(row)
    if spec is None:
        return row
    size_px = row.resolution_px if all(row.resolution_px) else spec.resolution_px
    macs = row.macs or cost(spec, resolution_px=size_px).macs
    return replace(row, resolution_px=size_px, macs=macs, alpha=spec.alpha)


_OPTIONAL = {
    "load_ms", "rounds", "resolution_px", "macs", "peak_memory_mb", "top1", "aa_spread", "alpha", "quoted_top1",
    "estimated_top1", "device",
}  # fmt: skip


def _spec(row: BenchRow) -> Spec | None:
    """The catalogue's network of this name and width; None for one of the user's own."""
    try:
        return resolve(
            row.network, alpha=row.alpha, resolution_px=row.resolution_px if all(row.resolution_px) else None
        )
    except UsageError:
        return None
