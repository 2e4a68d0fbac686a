"""Names that are imported on first use, so that `import mobilenets` and every room load in milliseconds (PEP 562)."""

import importlib
from collections.abc import Callable, Mapping


def lazy(package: str, where: Mapping[str, str]) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """The `__getattr__` and `__dir__` of a package whose public names stand in the modules that `where` tells."""

    def get(name: str) -> object:
        if name not in where:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(where[name], package), name)

    return get, lambda: sorted(where)
