"""Names that are imported on first use, so that `import mobilenets` and every room load in milliseconds (PEP 562)."""

import importlib
from collections.abc import Callable, Mapping

EXTRAS = {"torch": "train", "torchvision": "train", "sklearn": "train", "onnx": "train", "onnxscript": "train"}
"""Package -> the extra of this library that brings it."""


def lazy(package: str, where: Mapping[str, str]) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """The `__getattr__` and `__dir__` of a package whose public names stand in the modules that `where` tells.

    Using a name whose module needs a package of an extra that is not installed raises MissingRuntime.
    """

    def get(name: str) -> object:
        if name not in where:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            module = importlib.import_module(where[name], package)
        except ModuleNotFoundError as error:
            if error.name not in EXTRAS:
                raise
            from .errors import MissingRuntime

            raise MissingRuntime.extra(error.name, EXTRAS[error.name]) from error
        return getattr(module, name)

    return get, lambda: sorted(where)
