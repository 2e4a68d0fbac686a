"""The examples in docstrings run and print what they say."""

import doctest
import importlib
import pkgutil

import numpy as np
import pytest
import torch

import mobilenets

MODULES = sorted(
    m.name for m in pkgutil.walk_packages(mobilenets.__path__, "mobilenets.") if not m.name.endswith("__main__")
)


def has_examples(name: str) -> bool:
    origin = importlib.util.find_spec(name).origin  # type: ignore[attr-defined,union-attr]
    with open(origin) as file:
        return ">>> " in file.read()


@pytest.mark.parametrize("name", [name for name in MODULES if has_examples(name)])
def test_examples_of(name: str) -> None:
    given = {"np": np, "torch": torch}
    result = doctest.testmod(importlib.import_module(name), extraglobs=given, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted > 0
    assert result.failed == 0
