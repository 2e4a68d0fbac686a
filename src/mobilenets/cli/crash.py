"""The file that a bug leaves behind, to be attached to a report: command, versions, stack trace. Nothing is sent."""

import os
import platform
import shlex
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from .. import __version__
from ..errors import UsageError
from ..files import cache_dir, write_atomic

PACKAGES = ("numpy", "pillow", "onnxruntime", "torch", "torchvision", "onnx", "onnxscript", "scikit-learn", "click")


def write_crash(error: BaseException, argv: Sequence[str]) -> Path:
    """Write what a maintainer needs about `error` and return the file, in the cache or else the temporary folder."""
    lines = [
        f"mobilenets {__version__}, Python {platform.python_version()}, {platform.platform()}",
        *(f"{name} {_version(name)}" for name in PACKAGES),
        f"command: {shlex.join(argv)}",
        "",
        *traceback.format_exception(error),
    ]
    name = f"crash-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    for folder in (cache_dir() / "crashes", Path(tempfile.gettempdir())):
        try:
            write_atomic(folder / name, "\n".join(lines).encode("utf-8", "replace"))
            return folder / name
        except (UsageError, OSError):
            continue
    sys.stderr.write("\n".join(lines))
    return Path("the text above")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
