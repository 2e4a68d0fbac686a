"""Convolutions, matrices and pools, with their pads."""

import numpy as np

from .graph import MAP, Array, Ints, Node, Translation, Value


def conv(work: Translation, node: Node) -> None:
    weight, bias = work.constant(node, 1), work.constant(node, 2)
    if weight is None or weight.ndim != 4:
        raise work.refuse(node, "its weights are no constant of four dimensions")
    groups = int(node.attributes.get("group", 1))
    stride, dilation = node.ints("strides", (1, 1)), node.ints("dilations", (1, 1))
    if node.attributes.get("auto_pad", b"NOTSET") != b"NOTSET":
        raise work.refuse(node, "its pads are not spelled out")
    image, pads = _unpadded(work, node)
    value, padding = _padding(work, node, image, pads, (weight.shape[2], weight.shape[3]), stride, dilation)
    options = {"padding": padding, "strideH": stride[0], "strideW": stride[1]}
    options |= {"dilationHFactor": dilation[0], "dilationWFactor": dilation[1]}
    name = node.inputs[1]
    bias = np.zeros(len(weight), np.float32) if bias is None else bias
    bias_name = node.inputs[2] if len(node.inputs) > 2 else f"{name}/no_bias"
    if groups == image.shape[1] > 1:
        kind, table, axes = "DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions", (1, 2, 3, 0)
        options["depthMultiplier"] = len(weight) // groups
    else:
        kind, table, axes = "CONV_2D", "Conv2DOptions", (0, 2, 3, 1)
    held = work.weight(name, weight.transpose(axes))
    beside = work.subgraph.constant(bias_name, bias.astype(np.float32))
    work.emit(kind, (value.index, held, beside), node, MAP, table, options)


def _unpadded(work: Translation, node: Node, number: float = 0.0) -> tuple[Value, Ints]:
    """What a convolution or a pool reads, and its pads (top, left, bottom, right), with those of a Pad before it where
    that pads with `number`, as the node itself does."""
    own = node.ints("pads", (0, 0, 0, 0))
    source, pads, around = work.padded.get(node.inputs[0], ("", (), 0.0))
    if not source or around != number:
        return work.value(node, order=MAP), own
    return work.values[source], tuple(a + b for a, b in zip(own, pads, strict=True))


def _padding(
    work: Translation, node: Node, value: Value, pads: Ints, kernel: Ints, stride: Ints, dilation: Ints = (1, 1)
) -> tuple[Value, int]:
    """The map to read and the padding to read it with: the format knows none and TensorFlow's, all else is a PAD."""
    padding = work.subgraph.writer.schema.Padding
    if pads == _same(value.shape[2:], kernel, stride, dilation):
        return value, padding.SAME
    if not any(pads):
        return value, padding.VALID
    return work.pad(value, pads, f"{node.output}/padded"), padding.VALID


def _same(size: Ints, kernel: Ints, stride: Ints, dilation: Ints = (1, 1)) -> Ints:
    """TensorFlow's pads (top, left, bottom, right) for a map of this size."""
    spare = [
        max((-(-side // s) - 1) * s + (k - 1) * d + 1 - side, 0)
        for side, k, s, d in zip(size, kernel, stride, dilation, strict=True)
    ]
    return (spare[0] // 2, spare[1] // 2, spare[0] - spare[0] // 2, spare[1] - spare[1] // 2)


def gemm(work: Translation, node: Node) -> None:
    weight, bias = work.constant(node, 1), work.constant(node, 2)
    if weight is None or node.attributes.get("transA", 0) or (len(node.inputs) > 2 and bias is None):
        raise work.refuse(node, "it multiplies two values")
    weight = weight if node.attributes.get("transB", 0) else weight.T
    weight = weight * np.float32(node.attributes.get("alpha", 1.0))
    bias = np.zeros(len(weight), np.float32) if bias is None else bias * np.float32(node.attributes.get("beta", 1.0))
    _dense(work, node, weight, np.broadcast_to(bias.reshape(-1), (len(weight),)))


def _dense(work: Translation, node: Node, weight: Array, bias: Array) -> None:
    """weight (K, D), bias (K): the last axis of the value from D to K."""
    value = work.value(node, order=tuple(range(len(work.shapes[node.inputs[0]]))))
    bias_name = node.inputs[2] if len(node.inputs) > 2 else f"{node.inputs[1]}/no_bias"
    held = work.weight(node.inputs[1], weight), work.subgraph.constant(bias_name, bias.astype(np.float32))
    options = {"keepNumDims": len(value.shape) != 2}
    work.emit("FULLY_CONNECTED", (value.index, *held), node, value.order, "FullyConnectedOptions", options)


def matmul(work: Translation, node: Node) -> None:
    weight = work.constant(node, 1)
    if weight is not None and weight.ndim == 2:
        _dense(work, node, weight.T, np.zeros(weight.shape[1], np.float32))
        return
    straight = tuple(range(len(work.shapes[node.output])))
    turned = (*straight[:-2], straight[-1], straight[-2])
    sides = [work.value(node, side) for side in (0, 1)]
    if len(straight) < 3 or any(len(side.shape) != len(straight) for side in sides):
        raise work.refuse(node, "its sides differ in rank")
    left = work.value(node, 0, order=straight)
    right = sides[1] if sides[1].order == turned else work.value(node, 1, order=straight)
    options = {"adjX": False, "adjY": right.order == turned}
    work.emit("BATCH_MATMUL", (left.index, right.index), node, straight, "BatchMatMulOptions", options)


def pool(work: Translation, node: Node) -> None:
    """TensorFlow's pads are no numbers: a mean is that of the real cells. All others are written as a PAD."""
    kernel = node.ints("kernel_shape", ())
    stride, is_max = node.ints("strides", (1,) * len(kernel)), node.kind == "MaxPool"
    if len(kernel) != 2 or any(d != 1 for d in node.ints("dilations", (1, 1))):
        raise work.refuse(node, "only windows (h, w) without dilation can be said")
    value, pads = _unpadded(work, node, -np.inf if is_max else 0.0)
    counts = bool(node.attributes.get("count_include_pad", 0)) or node.inputs[0] in work.padded
    padding = work.subgraph.writer.schema.Padding
    how = padding.VALID
    if any(pads):
        if pads == _same(value.shape[2:], kernel, stride) and (is_max or not counts):
            how = padding.SAME
        elif is_max or counts:
            value = work.pad(value, pads, f"{node.output}/padded", -np.inf if is_max else 0.0)
        else:
            raise work.refuse(node, f"its pads {pads} do not count and are not TensorFlow's")
    sides = zip(value.shape[2:], kernel, stride, strict=True)
    found = tuple(-(-side // s) if how == padding.SAME else (side - k) // s + 1 for side, k, s in sides)
    if found != work.shapes[node.output][2:]:
        raise work.refuse(node, "its last windows reach over the edge")
    options = {"padding": how, "strideH": stride[0], "strideW": stride[1]}
    options |= {"filterHeight": kernel[0], "filterWidth": kernel[1]}
    kind = "MAX_POOL_2D" if is_max else "AVERAGE_POOL_2D"
    work.emit(kind, (value.index,), node, MAP, "Pool2DOptions", options)


def pad(work: Translation, node: Node) -> None:
    """A number around a map is left to whoever reads it: a convolution or a pool can often do it itself."""
    pads, held, rank = work.constant(node, 1), work.constant(node, 2), len(work.shapes[node.output])
    if node.attributes.get("mode", b"constant") != b"constant" or pads is None or rank != 4 or len(node.inputs) > 3:
        raise work.refuse(node, "only one number around a map can be said")
    before, after = pads[:4].tolist(), pads[4:].tolist()
    if any((*before[:2], *after[:2])) or min(before + after) < 0:
        raise work.refuse(node, "only one number around a map can be said")
    work.values[node.inputs[0]] = work.value(node, order=MAP)
    number = 0.0 if held is None else float(held.reshape(-1)[0])
    work.padded[node.output] = (node.inputs[0], (before[2], before[3], after[2], after[3]), number)
