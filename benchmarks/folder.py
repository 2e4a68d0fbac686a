"""A folder of 20,000 photos through `mobilenets predict -o`: memory, a SIGKILL in the middle, and what is in the file.

    python benchmarks/folder.py MODEL PHOTOS [--count 20000] [-o benchmarks/folder.md]

MODEL: what `predict` takes. PHOTOS: a folder of image files, linked again and again into a temporary one. The command
runs once to its end; then again to another file, killed when half is in its journal, and the same command once more.
Peak memory is the largest resident set of the process, as /proc says it (Linux).
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mobilenets.deploy.machine import this_machine


@dataclass(frozen=True)
class Outcome:
    """One run of the command. code: its exit code; peak_mb: largest resident set, in 10^6 bytes."""

    code: int
    seconds: float
    peak_mb: float


def run(command: Sequence[str], *, kill_at: tuple[Path, int] | None = None) -> Outcome:
    """Run `command`; with (journal, bytes), SIGKILL it when its journal is that long."""
    start, peak = time.perf_counter(), 0.0
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        try:
            lines = status.read_text().splitlines()
        except OSError:
            break
        peak = max([peak, *(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM"))])
        if kill_at is not None and kill_at[0].exists() and kill_at[0].stat().st_size >= kill_at[1]:
            process.kill()
        time.sleep(0.02)
    return Outcome(process.wait(), time.perf_counter() - start, peak)


def files_in(answers: Path) -> list[str]:
    with answers.open(newline="") as file:
        return [row["file"] for row in csv.DictReader(file)]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("-o", "--out", type=Path)
    options = parser.parse_args(arguments)
    machine = this_machine()
    sources = sorted(f for f in options.photos.iterdir() if f.suffix.lower() in (".jpg", ".jpeg", ".png"))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "photos")
        for index in range(options.count):
            link = folder / f"{index // 1000:03}" / f"{index:06}{sources[index % len(sources)].suffix}"
            link.parent.mkdir(parents=True, exist_ok=True)
            os.symlink(sources[index % len(sources)].resolve(), link)
        whole, killed = Path(place, "whole.csv"), Path(place, "killed.csv")
        command = [sys.executable, "-m", "mobilenets", "predict", str(options.model), str(folder), "-q", "-o"]
        full = run([*command, str(whole)])
        wanted = [str(file) for file in sorted(folder.rglob("*")) if not file.is_dir()]
        # A journal's line is longer than the table's by its keys: half of the table's bytes is about 40 % of the job.
        first = run([*command, str(killed)], kill_at=(Path(f"{killed}.part"), whole.stat().st_size // 2))
        begun = Path(f"{killed}.part").read_bytes().count(b"\n") - 1
        second = run([*command, str(killed)])
        checks = {
            "the whole run has every row once, in order": files_in(whole) == wanted,
            "the killed and resumed run has every row once, in order": files_in(killed) == wanted,
            "both files are the same bytes": whole.read_bytes() == killed.read_bytes(),
            "the run was killed": first.code == -9,
            "its journal is gone at the end": not Path(f"{killed}.part").exists(),
        }
    peak = max(full.peak_mb, first.peak_mb, second.peak_mb)
    lines = [
        f"# A folder of {options.count:,} photos",
        "",
        f"`python benchmarks/folder.py MODEL PHOTOS --count {options.count}`, {time.strftime('%Y-%m-%d')}. "
        f"{machine.cpu}, {machine.cores} cores; load {machine.load:g} at the start. "
        f"{len(sources)} photos, "
        "linked again.",
        "",
        f"- one run: {full.seconds:.0f} s, {options.count / full.seconds:.0f} images/s",
        f"- killed with {begun:,} answers in the journal, then again: {first.seconds:.0f} s + {second.seconds:.0f} s",
        f"- peak resident memory: {peak:.0f} MB",
        *(f"- {what}: {'yes' if held else 'NO'}" for what, held in checks.items()),
    ]
    text = "\n".join(lines) + "\n"
    if options.out:
        options.out.write_text(text)
    else:
        print(text)  # noqa: T201
    if not all(checks.values()) or peak >= 1500:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
