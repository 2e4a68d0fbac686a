"""`mobilenets fit` on a folder of photos from scratch: what it chose, what it reached, how long the whole job took.

    python benchmarks/photos.py DATA [--minutes 10] [--kill-at 5] [-o benchmarks/photos.md]

--kill-at: the job is killed (SIGKILL) after so many minutes and taken up with --resume; seconds are those of both.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from mobilenets.deploy.machine import this_machine

COMMAND = [sys.executable, "-m", "mobilenets", "fit"]


def job(arguments: list[str], *, kill_after_s: float | None = None) -> tuple[dict[str, Any] | None, float]:
    """The summary that fit prints, None where it was killed, and seconds."""
    start = time.perf_counter()
    process = subprocess.Popen([*COMMAND, *arguments, "--json"], stdout=subprocess.PIPE, text=True)
    try:
        out, _ = process.communicate(timeout=kill_after_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return None, time.perf_counter() - start
    if process.returncode:
        raise SystemExit(process.returncode)
    return json.loads(out), time.perf_counter() - start


def row(found: dict[str, Any], *, data: str, minutes: float, seed: int, note: str, seconds: float) -> str:
    """The table's line of what fit printed."""
    training, onnx, (low, high) = found["training"], found["onnx"], found["interval"]
    machine = this_machine()
    return (
        f"| {Path(data).name} | {minutes:g} | {seed} | {note} | {found['network']} | {training['epochs']} "
        f"| {100 * found['top1']:.1f} % of {found['test_images']} ({100 * low:.1f} to {100 * high:.1f}) "
        f"| {'yes' if onnx['passed'] else 'NO'}, {100 * onnx['top1_agreement']:.0f} %, "
        f"{onnx['max_relative_error']:.1e} | {training['seconds']:.0f} | {seconds:.0f} "
        f"| {machine.cpu}, {machine.cores} cores, torch {torch.__version__}, {time.strftime('%Y-%m-%d')} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--kill-at", type=float, help="minutes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--out", type=Path, help="append the line to this table")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = str(Path(folder, "run"))
        first = [options.data, "--minutes", f"{options.minutes:g}", "--seed", str(options.seed), "-o", run]
        found, seconds = job(first, kill_after_s=None if options.kill_at is None else 60 * options.kill_at)
        killed = ""
        if found is None:
            found, more = job(["--resume", run])
            seconds, killed = seconds + more, f"killed after {options.kill_at:g} min, resumed"
    assert found is not None
    line = row(found, data=options.data, minutes=options.minutes, seed=options.seed, note=killed, seconds=seconds)
    sys.stdout.write(line + "\n")
    if options.out:
        head = (
            "# Photos from scratch\n\nOne line per run of `python benchmarks/photos.py`.\n\n"
            "| data | minutes | seed | | network chosen | epochs | test top-1 (95 %) | verified, agreement, error "
            f"| training s | whole job s | machine |\n{'| --- ' * 11}|\n"
        )
        text = options.out.read_text() if options.out.is_file() else head
        options.out.write_text(text + line + "\n")


if __name__ == "__main__":
    main()
