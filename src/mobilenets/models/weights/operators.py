"""A graph file's operators as plain values, before they mean anything: names, attributes, order, and which ones count.

What the ONNX and the OpenVINO reader share below the meaning of operators. Messages name the operator; the reader adds
the file's name.
"""

import heapq
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...errors import BadData

AnyArray: TypeAlias = NDArray[Any]
Value: TypeAlias = int | float | str | tuple[int, ...] | tuple[float, ...] | AnyArray
MOST_OPERATORS = 100_000
MOST_SIDE = 1 << 16
"""Strides, kernels, dilations and pads above this belong to no picture network; it keeps products small."""


@dataclass(frozen=True, slots=True)
class Described:
    """A tensor that is fed or taken, as the file describes it. shape: 0 where open, () too where nothing is said."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True, eq=False)
class Operator:
    """kind: the format's word, with its domain in front where it is a vendor's. inputs: "" where one is left out."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Value] = field(default_factory=dict)

    @property
    def output(self) -> str:
        return self.outputs[0]

    def __str__(self) -> str:
        return f"{self.kind} {(self.name or self.output)[:80]!r}"

    def input(self, index: int) -> str:
        """The name of an input, "" where it is left out."""
        return self.inputs[index] if index < len(self.inputs) else ""

    def has(self, key: str) -> bool:
        return key in self.attributes

    def ints(self, key: str, default: tuple[int, ...]) -> tuple[int, ...]:
        """Whole numbers: a list, one alone, or text as in "1, 2". Raises: BadData for anything else."""
        value = self.attributes.get(key, default)
        if isinstance(value, str):
            try:
                return tuple(int(part) for part in value.split(",")) if value.strip() else ()
            except ValueError:
                raise BadData(f"{self}: {key} is no list of whole numbers: {value[:80]!r}") from None
        if isinstance(value, int):
            return (int(value),)
        if isinstance(value, tuple) and all(isinstance(part, int) for part in value):
            return tuple(int(part) for part in value)
        raise BadData(f"{self}: {key} is no list of whole numbers")

    def integer(self, key: str, default: int) -> int:
        values = self.ints(key, (default,))
        if len(values) != 1:
            raise BadData(f"{self}: {key} must be one whole number, not {len(values)}")
        return values[0]

    def flag(self, key: str, default: bool) -> bool:
        value = self.attributes.get(key, default)
        return value.strip().lower() in ("true", "1") if isinstance(value, str) else value == 1

    def number(self, key: str, default: float) -> float:
        """A float32 as the decimal that was meant: 0.2, not 0.20000000298. Raises: BadData for what is no number."""
        value = self.attributes.get(key, default)
        try:
            if isinstance(value, (int, float, str)):
                return decimal(float(value))
        except (ValueError, OverflowError):
            pass
        raise BadData(f"{self}: {key} is no number")

    def text(self, key: str, default: str) -> str:
        value = self.attributes.get(key, default)
        if not isinstance(value, str):
            raise BadData(f"{self}: {key} is no text")
        return value

    def pair(self, key: str, default: tuple[int, int] = (1, 1), *, least: int = 1) -> tuple[int, int]:
        """(vertical, horizontal). Raises: BadData for another count, or sides outside `least`..MOST_SIDE."""
        values = self.ints(key, default)
        if len(values) != 2 or not all(least <= side <= MOST_SIDE for side in values):
            raise BadData(f"{self}: {key} must be two numbers of at least {least}, not {values[:8]}")
        return values[0], values[1]


def decimal(value: float) -> float:
    """The shortest decimal that is the same float32; larger ones are infinite."""
    with np.errstate(all="ignore"):
        short = float(str(np.float32(value)))
    return math.copysign(math.inf, short) if abs(short) >= 3.4e38 else short


def ordered(operators: Sequence[Operator], given: Iterable[str]) -> list[Operator]:
    """`operators` in an order in which they can run, the file's own where that is one.

    given: tensors that are there from the start. Raises: BadData for a tensor that two operators make or none does, or
    a circle.
    """
    made: dict[str, int] = {}
    start = set(given)
    for i, operator in enumerate(operators):
        for name in filter(None, operator.outputs):
            if name in made or name in start:
                raise BadData(f"{operator}: {name[:80]!r} is made twice")
            made[name] = i
    readers: dict[int, list[int]] = {}
    missing = Counter[int]()
    for i, operator in enumerate(operators):
        for name in set(filter(None, operator.inputs)) - start:
            if name not in made:
                raise BadData(f"{operator} reads {name[:80]!r}, which nothing makes")
            readers.setdefault(made[name], []).append(i)
            missing[i] += 1
    ready = [i for i in range(len(operators)) if not missing[i]]
    found: list[Operator] = []
    while ready:
        i = heapq.heappop(ready)
        found.append(operators[i])
        for reader in readers.get(i, ()):
            missing[reader] -= 1
            if not missing[reader]:
                heapq.heappush(ready, reader)
    if len(found) < len(operators):
        raise BadData(f"{next(o for i, o in enumerate(operators) if missing[i])} waits for its own result")
    return found


def needed(operators: Sequence[Operator], results: Iterable[str], first_only: frozenset[str]) -> list[Operator]:
    """Those that a result depends on.

    first_only: kinds whose inputs after the first only say a shape, so that what computes it falls away.
    """
    wanted = set(results)
    found: list[Operator] = []
    for operator in reversed(operators):
        if not wanted.isdisjoint(operator.outputs):
            wanted.update(operator.inputs[:1] if operator.kind in first_only else operator.inputs)
            found.append(operator)
    return found[::-1]
