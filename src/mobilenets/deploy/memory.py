"""What loading and running an exported file costs in memory, measured in a process of its own.

The child first runs the target's tiny probe, so that the runtime itself is loaded and paid for; what its memory grows
by after that, at most, is what the file costs. Other work of the caller's process can't disturb it.
"""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

from .contenders import noise_for
from .targets import find_target

log = logging.getLogger(__name__)

RUNS = 3
TIMEOUT_S = 120


def peak_memory_mb(target: str, path: Path, *, threads: int = 1, batch: int = 1, size_px: tuple[int, int]) -> float:
    """Growth of a process's resident memory, at its peak, by loading the file and running it `RUNS` times; MB.

    size_px: (h, w) for a file that takes any size. 0.0 where it can't be measured (no such figure on this system, or
    the child died, which is logged). Takes about half a second.
    """
    asked = {"target": target, "path": str(path), "threads": threads, "batch": batch, "size_px": size_px}
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    command = [sys.executable, "-m", __name__, json.dumps(asked)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, env=environment, cwd=os.getcwd()
        )
    except subprocess.TimeoutExpired:
        log.warning("%s: its memory was not measured: no answer in %d s", path, TIMEOUT_S)
        return 0.0
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        log.warning("%s: its memory was not measured: %s", path, last)
        return 0.0
    return float(json.loads(done.stdout.splitlines()[-1]))


def _growth_mb(*, target: str, path: str, threads: int, batch: int, size_px: tuple[int, int]) -> float:
    """In the child: the peak after loading and running, less what was resident before."""
    row = find_target(target)
    row.try_runtime()
    _forget_peak()
    before = _peak_bytes()
    session = row.open(Path(path), threads=threads)
    inputs = noise_for(session, batch, size_px)
    for _ in range(RUNS):
        session.run(inputs)
    return (_peak_bytes() - before) / 1e6


def _forget_peak() -> None:
    """Let Linux count the peak anew from what is resident now; elsewhere (and where that is forbidden) it stays."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _peak_bytes() -> int:
    """The most memory that was resident at once; 0 where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    growth = _growth_mb(
        target=asked["target"],
        path=asked["path"],
        threads=asked["threads"],
        batch=asked["batch"],
        size_px=tuple(asked["size_px"]),
    )
    sys.stdout.write(f"{json.dumps(growth)}\n")
