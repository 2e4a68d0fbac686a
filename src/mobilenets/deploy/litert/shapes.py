"""Means, reshapes and transposes: where the axes of a value go."""

import math

from .graph import Ints, Node, Translation, Value, long_axes, usual


def mean(work: Translation, node: Node) -> None:
    value, held = work.value(node), work.constant(node, 1)
    rank = len(value.shape)
    if node.kind == "GlobalAveragePool":
        axes = tuple(range(2, rank))
    else:
        axes = node.ints("axes", ()) if held is None else tuple(held.reshape(-1).tolist())
        axes = tuple(sorted(axis % rank for axis in axes))
    if not axes or 0 in axes:
        raise work.refuse(node, f"its axes are {axes}")
    places = work.integers("axes", sorted(value.order.index(axis) for axis in axes))
    kept = tuple(1 if axis in axes else side for axis, side in enumerate(value.shape))
    name = node.output if kept == work.shapes[node.output] else f"{node.output}/kept"
    made = work.make(name, kept, value.order)
    work.subgraph.operator("MEAN", (value.index, places), made.index, "ReducerOptions", {"keepDims": True})
    work.values[node.output] = made
    if name != node.output:
        reshaped(work, node, made)


def reshape(work: Translation, node: Node) -> None:
    reshaped(work, node, work.value(node))


def reshaped(work: Translation, node: Node, value: Value) -> None:
    shape = work.shapes[node.output]
    if shape[:1] != value.shape[:1] or math.prod(shape) != math.prod(value.shape):
        raise work.refuse(node, "it mixes the pictures of a batch")
    order = _reordered(value, shape)
    if order is None:  # the axes that are merged do not lie side by side
        value, order = work.value(node, order=tuple(range(len(value.shape)))), tuple(range(len(shape)))
    stored = tuple(shape[axis] for axis in order)
    if stored == value.stored:
        work.values[node.output] = Value(value.index, shape, order)
        return
    wanted = [-1, *stored[1:]]  # the batch is free
    inputs = value.index, work.integers("shape", wanted)
    work.emit("RESHAPE", inputs, node, order, "ReshapeOptions", {"newShape": wanted})


def _reordered(value: Value, shape: Ints) -> Ints | None:
    """The order of a reshaped value for which no number has to move; None where there is none.

    Axes fall into the smallest runs that hold equally many numbers before and after; a run moves as one.
    """
    runs = _runs(value.shape, shape)
    if runs is None:
        return None
    home = {axis: number for number, (before, _) in enumerate(runs) for axis in before}
    stored = [axis for axis in value.order if axis in home and value.shape[axis] > 1]
    sequence = list(dict.fromkeys(home[axis] for axis in stored))
    whole = [axis for number in sequence for axis in runs[number][0] if value.shape[axis] > 1]
    if whole != stored:
        return None
    rest = [number for number in range(len(runs)) if number not in sequence]
    # Runs of one number can stand anywhere; the batch is the first of them.
    order = tuple(axis for number in (*rest[:1], *sequence, *rest[1:]) for axis in runs[number][1])
    likely = usual(len(shape))
    return likely if long_axes(likely, shape) == long_axes(order, shape) else order


def _runs(before: Ints, after: Ints) -> list[tuple[Ints, Ints]] | None:
    """Runs of axes before and after that hold equally many numbers; the batch, axis 0, is the first. Axes of 1 that
    belong nowhere join the run before them."""
    runs: list[tuple[Ints, Ints]] = [((0,), (0,))]
    i = j = 1
    while i < len(before) or j < len(after):
        first: list[int] = []
        second: list[int] = []
        left = right = 1
        while left != right or not first or not second:
            if (left <= right and i < len(before)) or j == len(after):
                if i == len(before):
                    break
                left, i = left * before[i], i + 1
                first.append(i - 1)
            else:
                right, j = right * after[j], j + 1
                second.append(j - 1)
        if left != right:
            return None
        if left == 1 and not (first and second):
            last = runs.pop()
            runs.append(((*last[0], *first), (*last[1], *second)))
        else:
            runs.append((tuple(first), tuple(second)))
    return runs


def transpose(work: Translation, node: Node) -> None:
    """Nothing is moved: the tensor holds the axes in the order it had, under their new numbers."""
    value = work.value(node)
    perm = node.ints("perm", tuple(reversed(range(len(value.shape)))))
    order = tuple(perm.index(axis) for axis in value.order)
    work.values[node.output] = Value(value.index, tuple(value.shape[axis] for axis in perm), order)


def same_value(work: Translation, node: Node) -> None:
    work.values[node.output] = work.value(node)
