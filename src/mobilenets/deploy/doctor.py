"""What is installed here and what works: `mobilenets doctor`. A target "runs" when it has just run something."""

import platform
import sys
from dataclasses import dataclass

from ..errors import MobilenetsError
from ..records import Machine
from .machine import installed_versions, this_machine
from .targets import TARGETS, Target, has_module


@dataclass(frozen=True, slots=True)
class TargetHealth:
    """One target here. installed: its runtime can be found; runs: it ran a tiny graph; exports: files can be written.

    hint: the install line, or what went wrong; empty where all is well.
    """

    installed: bool
    runs: bool
    exports: bool
    hint: str


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What `mobilenets doctor` prints. `packages`: versions of what is installed."""

    python: str
    packages: dict[str, str]
    machine: Machine
    targets: dict[str, TargetHealth]


def diagnose() -> Diagnosis:
    """Look at this installation, running a tiny graph in the runtime of every target. Changes nothing."""
    targets = {name: _health(target) for name, target in TARGETS.items()}
    return Diagnosis(platform.python_version(), installed_versions(), this_machine(), targets)


def _health(target: Target) -> TargetHealth:
    installed = all(has_module(module) for module in target.run_modules)
    exports = all(has_module(module) for module in target.export_modules)
    if sys.platform not in target.systems:
        return TargetHealth(installed, False, exports, f"{target.title} does not run on {sys.platform}")
    if not installed:
        return TargetHealth(False, False, exports, _install_line(target.run_extra))
    try:
        target.try_runtime()
    except (MobilenetsError, ImportError, OSError) as error:
        return TargetHealth(True, False, exports, f"{type(error).__name__}: {error}")
    return TargetHealth(True, True, exports, "" if exports else f"to export: {_install_line(target.export_extra)}")


def _install_line(extra: str) -> str:
    return f"pip install 'mobilenets[{extra}]'" if extra else "pip install --upgrade mobilenets"
