"""What this machine is: the facts that every measured number carries."""

import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

from ..records import Machine

PACKAGES = (
    "mobilenets",
    "numpy",
    "pillow",
    "safetensors",
    "onnxruntime",
    "torch",
    "torchvision",
    "onnx",
    "onnxscript",
    "ai-edge-litert",
    "openvino",
    "executorch",
    "coremltools",
    "scikit-learn",
)
"""Distributions whose versions can change a number."""

# The kernel's flag -> the name that runtimes and papers use. Only what changes how fast or how exact inference is.
_ISA = {
    "sse4_2": "sse4.2",
    "avx": "avx",
    "avx2": "avx2",
    "fma": "fma",
    "f16c": "f16c",
    "avx512f": "avx512",
    "avx512_vnni": "avx512_vnni",
    "avx_vnni": "avx_vnni",
    "avx512_bf16": "avx512_bf16",
    "avx512_fp16": "avx512_fp16",
    "amx_bf16": "amx_bf16",
    "amx_int8": "amx_int8",
    "asimd": "neon",
    "asimdhp": "neon_fp16",
    "asimddp": "neon_dotprod",
    "i8mm": "neon_i8mm",
    "bf16": "neon_bf16",
    "sve": "sve",
}


def this_machine() -> Machine:
    """CPU, cores this process may use, memory, instruction sets, versions, and the load at this moment."""
    info = _cpuinfo()
    return Machine(
        cpu=_cpu_name(info),
        cores=usable_cores(),
        memory_gb=round(_memory_bytes() / 1e9, 1),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        isa=_isa(info),
        versions=installed_versions(),
        load=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else 0.0,
    )


def usable_cores() -> int:
    """Cores that this process may run on (a container or taskset may allow fewer than there are)."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 numbers (AVX-512 BF16, AMX, or the Arm extension)."""
    return any(name.endswith("_bf16") for name in _isa(_cpuinfo()))


def installed_versions() -> dict[str, str]:
    """Version per distribution of `PACKAGES` that is installed, read without importing any."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _cpuinfo() -> dict[str, str]:
    """The first processor of /proc/cpuinfo as key -> value; empty where there is no such file."""
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in text.split("\n\n")[0].splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def _cpu_name(info: dict[str, str]) -> str:
    for key in ("model name", "Model", "Hardware", "cpu model"):
        if info.get(key):
            return re.sub(r"\s+", " ", info[key])
    return _sysctl("machdep.cpu.brand_string") or platform.processor() or platform.machine() or "unknown"


def _isa(info: dict[str, str]) -> tuple[str, ...]:
    flags = set(info.get("flags", info.get("Features", "")).split())
    return tuple(name for flag, name in _ISA.items() if flag in flags)


def _memory_bytes() -> int:
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return int(_sysctl("hw.memsize") or 0)


def _sysctl(name: str) -> str:
    """A value of macOS's sysctl; empty elsewhere."""
    if sys.platform != "darwin":
        return ""
    done = subprocess.run(["sysctl", "-n", name], capture_output=True, text=True, check=False)
    return done.stdout.strip()
