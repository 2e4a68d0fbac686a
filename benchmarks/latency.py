"""Latency of every network on this machine, for the table of README.md: writes docs/latency.json; then `make docs`.

    python benchmarks/latency.py

Each network, untrained, at its own input size, exported to ONNX and run by ONNX Runtime: float32, one thread, batch 1,
the median of one image.
"""

import json
import sys
import time
from pathlib import Path

import onnxruntime

from mobilenets.deploy import time_untrained
from mobilenets.deploy.machine import this_machine
from mobilenets.specs import CATALOGUE, resolve

OUT = Path(__file__).resolve().parents[1] / "docs" / "latency.json"


def main() -> None:
    found = {}
    for name in CATALOGUE:
        found[name], _ = time_untrained(resolve(name))
        sys.stderr.write(f"{name}: {found[name]:.1f} ms\n")
    machine = this_machine()
    words = (
        f"ms: one image through ONNX Runtime {onnxruntime.__version__}, float32, one thread of {machine.cpu} "
        f"({', '.join(machine.isa)}), {time.strftime('%Y-%m-%d')}, by `python benchmarks/latency.py`."
    )
    OUT.write_text(json.dumps({"words": words, "median_ms": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
