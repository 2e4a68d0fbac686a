"""Keras whole-model files, `.h5` and `.keras`, to a graph: Functional and Sequential, of Keras 2 and 3, nested or not.

The configuration is read as JSON and never handed to Keras. A layer's output bears the layer's name; where a layer
stands for several operators (a fused activation, a separable convolution), the last one's does.
"""

import re
import zipfile
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeGuard

from ...errors import BadData
from .graph import Array, Fed, Graph, Node
from .hdf5 import MOST_BYTES, read_tree, read_tree_of
from .keras_files import MOST_JSON, ByName, ByPosition, Place, Step, Store, parse, read_members, snake_case
from .keras_layers import Layer, Map, operators, scaling_of, size_after, weights_of

MODELS = ("Functional", "Model", "Sequential")
MOST_LAYERS = 10_000
MOST_TURNS = 200_000
"""How often a call may be put behind the others because its inputs are not there yet; Keras writes in order."""
MOST_NESTED = 8
HINT = "it has weights and no graph; it is read as named weights"


def read_graph(path: Path) -> Graph:
    """The model in a `.h5` or `.keras` file.

    Raises: BadData for a damaged file, one without a model (`is_weights_only`), or a malformed layer; MissingRuntime
    without h5py.
    """
    where = str(path)
    if zipfile.is_zipfile(path):
        limits = {"config.json": MOST_JSON, "metadata.json": MOST_JSON, "model.weights.h5": MOST_BYTES}
        members = read_members(path, limits)
        version = str(parse(members["metadata.json"], where).get("keras_version", ""))
        config = parse(members["config.json"], where)
        store: Store = ByPosition(read_tree_of(members["model.weights.h5"], where), where)
    else:
        tree = read_tree(path)
        if "model_config" not in tree.texts:
            raise BadData(f"{where}: no Keras model in it", hint=HINT if tree.arrays else "")
        version, config = tree.texts.get("keras_version", ""), parse(tree.texts["model_config"], where)
        store = ByName(tree, where)
    return _graph(config, store, version, where)


def is_weights_only(path: Path) -> bool:
    """Whether the file is HDF5 without a model: then `read_weights` reads it, not `read_graph`."""
    return not zipfile.is_zipfile(path) and "model_config" not in read_tree(path).texts


def read_weights(path: Path) -> dict[str, Array]:
    """The arrays of an HDF5 file of weights, by "<layer>/<name>", as "conv1_bn/gamma" or "Conv/BatchNorm/gamma".

    Raises: BadData for a damaged file or one in which no layer is named.
    """
    where = str(path)
    tree = read_tree(path)
    named: list[tuple[str, Array]] = []
    for group, names in tree.weight_names.items():
        named += [(n.removesuffix(":0"), tree.arrays[p]) for n in names if (p := f"{group}/{n}") in tree.arrays]
    for group, layer in tree.names.items():  # Keras 3 numbers a layer's arrays, and marks the layer's name
        kind = re.sub(r"_\d+$", "", group.removesuffix("/vars").rpartition("/")[2])
        values = [tree.arrays[p] for i in range(5) if (p := f"{group}/{i}") in tree.arrays]
        named += [(f"{layer}/{leaf}", value) for leaf, value in zip(_leaves(kind, len(values)), values, strict=False)]
    found = dict(named)
    if len(found) != len(named):
        twice = Counter(name for name, _ in named).most_common(1)[0][0]
        raise BadData(f"{where}: {twice} occurs twice")
    if not found:
        raise BadData(f"{where}: no layer's weights in it")
    return found


def _leaves(kind: str, count: int) -> tuple[str, ...]:
    """The names of `count` numbered arrays of a layer of a class in snake case."""
    kinds = ("Conv2D", "Dense", "DepthwiseConv2D", "BatchNormalization")
    leaves = next((weights_of(known, {}) for known in kinds if snake_case(known) == kind), ())
    return leaves if count == len(leaves) or kind != "batch_normalization" else ()


def _graph(config: dict[str, Any], store: Store, version: str, where: str) -> Graph:
    layout: Literal["nchw", "nhwc"] = "nchw" if _channels_first(config, where) else "nhwc"
    walk = _Walk(where, store, 3 if version.startswith("3") else 2, layout)
    outputs = walk.model(config, (), None)
    if not walk.nodes or not walk.feeds:
        raise BadData(f"{where}: a model without layers or without an input")
    inner = config["config"]
    name = str(inner.get("name", ""))[:200] if isinstance(inner, dict) else ""
    metadata = {"keras_version": version[:40], "name": name}
    return Graph(
        "keras",
        tuple(walk.nodes),
        tuple(walk.feeds),
        tuple(walk.fed(name) for name in dict.fromkeys(outputs)),
        notes=tuple(walk.notes),
        metadata={**metadata, **walk.metadata},
    )


@dataclass(slots=True)
class _Walk:
    """The graph while it grows. sizes: of every tensor so far, which are also the names that are taken."""

    where: str
    store: Store
    keras: int
    layout: Literal["nchw", "nhwc"]
    nodes: list[Node] = field(default_factory=list)
    feeds: list[Fed] = field(default_factory=list)
    sizes: dict[str, Map] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)
    visited: int = 0

    def model(self, config: dict[str, Any], place: Place, given: tuple[str, ...] | None) -> tuple[str, ...]:
        """Append a model's operators; `given` are the tensors it is called on, None for the outermost. -> outputs."""
        if len(place) > MOST_NESTED:
            raise BadData(f"{self.where}: models nested more than {MOST_NESTED} deep")
        layers = _layers(config, self.where)
        self._visit(1 + len(layers))
        steps = dict(zip((_name(layer, self.where) for layer in layers), _steps(layers, self.where), strict=True))
        if len(steps) != len(layers):
            raise BadData(f"{self.where}: two layers of one model have the same name")
        if config.get("class_name") == "Sequential":
            outputs = self._sequential(config, layers, steps, place, given)
        else:
            outputs = self._functional(_config(config, self.where), layers, steps, place, given)
        if not outputs:
            raise BadData(f"{self.where}: a model without layers")
        return outputs

    def _visit(self, count: int) -> None:
        """A model may be called again and again, and call others so: all of it together is bounded."""
        self.visited += count
        if self.visited > MOST_LAYERS:
            raise BadData(f"{self.where}: more than {MOST_LAYERS} layers and calls of layers")

    def _sequential(
        self,
        config: dict[str, Any],
        layers: list[dict[str, Any]],
        steps: dict[str, Step],
        place: Place,
        given: tuple[str, ...] | None,
    ) -> tuple[str, ...]:
        tensors = given
        for layer in layers:
            name = _name(layer, self.where)
            if layer.get("class_name") == "InputLayer":
                tensors = tensors or (self._feed(name, layer),)
            elif layer.get("class_name") in MODELS:
                tensors = self.model(layer, (*place, steps[name]), tensors)
            else:
                tensors = tensors or (self._feed(f"{name}_input", layer, config),)
                tensors = (self._call(layer, (*place, steps[name]), 0, list(tensors)),)
        return tensors or ()

    def _functional(
        self,
        config: dict[str, Any],
        layers: list[dict[str, Any]],
        steps: dict[str, Step],
        place: Place,
        given: tuple[str, ...] | None,
    ) -> tuple[str, ...]:
        made: dict[tuple[str, int], tuple[str, ...]] = {}
        inputs = [name for name, _, _ in _references(config.get("input_layers"))]
        waiting: deque[tuple[dict[str, Any], int, object, list[tuple[str, int, int]]]] = deque()
        for layer in layers:
            name = _name(layer, self.where)
            if layer.get("class_name") != "InputLayer":
                calls = layer.get("inbound_nodes")
                calls = calls if isinstance(calls, list) else []
                self._visit(len(calls))
                waiting += [(layer, i, call, list(_references(call))) for i, call in enumerate(calls)]
            elif given is None:
                made[name, 0] = (self._feed(name, layer),)
            elif name in inputs and inputs.index(name) < len(given):
                made[name, 0] = (given[inputs.index(name)],)
        turned = 0
        while waiting:
            layer, index, call, references = waiting.popleft()
            if any((name, node) not in made for name, node, _ in references):
                waiting.append((layer, index, call, references))
                turned += 1
                if turned > MOST_TURNS:
                    raise BadData(f"{self.where}: layer {_name(layer, self.where)!r} waits for one that never runs")
                continue
            name = _name(layer, self.where)
            tensors = [made[source, node][min(k, len(made[source, node]) - 1)] for source, node, k in references]
            if layer.get("class_name") in MODELS:
                made[name, index] = self.model(layer, (*place, steps[name]), tuple(tensors))
            else:
                made[name, index] = (self._call(layer, (*place, steps[name]), index, tensors, call),)
        ends = [(made.get((name, node)), k) for name, node, k in _references(config.get("output_layers"))]
        if not ends or any(not tensors for tensors, _ in ends):
            raise BadData(f"{self.where}: the model's outputs are not among its layers")
        return tuple(tensors[min(k, len(tensors) - 1)] for tensors, k in ends if tensors)

    def _call(self, entry: dict[str, Any], place: Place, index: int, tensors: list[str], call: object = None) -> str:
        """Append the operators of one call of a layer. -> its output."""
        kind, config = str(entry.get("class_name"))[:80], _config(entry, self.where)
        step, constants = place[-1], list(_constants(call, config))
        layer = Layer(
            f"{self.where}: layer {step.name!r}",
            kind,
            config,
            self.keras,
            len(tensors),
            constants[0][0] if len(constants) == 1 else None,
            bool(constants) and constants[0][1],
            self.store.arrays(place, wanted) if (wanted := weights_of(kind, config)) else None,
        )
        if not tensors:
            raise BadData(f"{layer.where}: called on nothing")
        if kind == "Lambda":
            self.notes.append(f"layer {step.name!r} is a Lambda: code in the file, which is never run")
        if words := scaling_of(layer):
            self.metadata[kind.lower()] = words
            self.notes.append(f"layer {step.name!r} ({kind}) prepares pixels inside the network: {words}")
        output = self._free(f"{step.name}:{index}" if index else step.name, place)
        sizes = [self.sizes[name] for name in tensors]
        ops = operators(layer, sizes[0])
        for i, op in enumerate(ops):
            last = i == len(ops) - 1
            name = output if last else self._free(f"{output}/{type(op).__name__}", place)
            sizes = [size_after(op, sizes)]
            self.nodes.append(Node(op, tuple(tensors), (name,), step.name))
            self.sizes[name] = sizes[0]
            tensors = [name]
        return output

    def _free(self, name: str, place: Place) -> str:
        """`name`, or a longer one where a layer of another model has it already."""
        while name in self.sizes:
            name = f"{place[0].name}/{name}"
        return name

    def _feed(self, name: str, layer: dict[str, Any], model: dict[str, Any] | None = None) -> str:
        """Append a tensor that the caller feeds. -> its name."""
        config = _config(layer, self.where)
        shape = config.get("batch_shape") or config.get("batch_input_shape")
        if shape is None and model is not None and isinstance(model.get("config"), dict):
            shape = model["config"].get("build_input_shape")
        if not isinstance(shape, list) or not 2 <= len(shape) <= 5:
            raise BadData(f"{self.where}: input {name!r} has no shape")
        sides = [0 if side is None else side for side in shape]
        if any(isinstance(n, bool) or not isinstance(n, int) or not 0 <= n <= 1_000_000 for n in sides):
            raise BadData(f"{self.where}: input {name!r} has a malformed shape {str(shape)[:80]}")
        dtype = config.get("dtype")
        name = self._free(name, (Step(name, "", 0, 0),))
        fed = Fed(name, tuple(sides), self.layout, dtype if isinstance(dtype, str) else "float32")
        self.feeds.append(fed)
        self.sizes[name] = (*fed.size_px, fed.channels)
        return name

    def fed(self, name: str) -> Fed:
        """The tensor `name` as a result of the graph."""
        h, w, c = self.sizes[name]
        if (h, w) == (1, 1):
            return Fed(name, (0, c), self.layout)
        return Fed(name, (0, h, w, c) if self.layout == "nhwc" else (0, c, h, w), self.layout)


def _layers(model: dict[str, Any], where: str) -> list[dict[str, Any]]:
    """A model's layers. Keras before 2.2.3 wrote a Sequential's as its whole configuration."""
    config = model.get("config")
    layers = config.get("layers") if isinstance(config, dict) else config
    if model.get("class_name") not in MODELS or not isinstance(layers, list):
        raise BadData(f"{where}: {str(model.get('class_name'))[:80]!r} is no Functional or Sequential model")
    if not all(isinstance(layer, dict) for layer in layers):
        raise BadData(f"{where}: a malformed layer in its configuration")
    return layers


def _steps(layers: list[dict[str, Any]], where: str) -> Iterator[Step]:
    """Where each layer's weights are: counted per class, of those that have any."""
    kinds = [snake_case(str(layer.get("class_name"))[:80]) for layer in layers]
    counted = [kind for kind, layer in zip(kinds, layers, strict=True) if _has_weights(layer)]
    counts, seen = Counter(counted), Counter[str]()
    for kind, layer in zip(kinds, layers, strict=True):
        yield Step(_name(layer, where), kind, seen[kind], counts[kind])
        seen[kind] += _has_weights(layer)


def _has_weights(layer: dict[str, Any], depth: int = 0) -> bool:
    config = layer.get("config")
    if layer.get("class_name") not in MODELS:
        return isinstance(config, dict) and bool(weights_of(str(layer.get("class_name")), config))
    inner = config.get("layers") if isinstance(config, dict) else config
    inside = inner if isinstance(inner, list) and depth <= MOST_NESTED else []
    return any(_has_weights(item, depth + 1) for item in inside if isinstance(item, dict))


def _name(layer: dict[str, Any], where: str) -> str:
    config = layer.get("config")
    name = layer.get("name") or (config.get("name") if isinstance(config, dict) else None)
    if not isinstance(name, str) or not 0 < len(name) <= 300:
        raise BadData(f"{where}: a layer without a name")
    return name


def _config(entry: dict[str, Any], where: str) -> dict[str, Any]:
    config = entry.get("config")
    if not isinstance(config, dict):
        raise BadData(f"{where}: a layer without a configuration")
    return config


def _references(call: object, depth: int = 0) -> Iterator[tuple[str, int, int]]:
    """The tensors in a call's arguments, as (layer, node, index), in order.

    Keras 2 writes [layer, node, index, keywords], singly or in lists; Keras 3 an object per tensor.
    """
    if depth > 12:
        return
    if isinstance(call, dict):
        history = _history(call)
        if history is not None:
            call = history
        else:
            for value in call.values():
                yield from _references(value, depth + 1)
            return
    if not isinstance(call, (list, tuple)):
        return
    match call:
        case [str(name), int(node), int(index), *keywords] if not isinstance(node, bool):
            if name != "_CONSTANT_VALUE" and node >= 0 <= index:
                yield name, node, index
            call = keywords
        case [str(name), -1, *keywords] if name == "_CONSTANT_VALUE":
            call = keywords
    for item in call:
        yield from _references(item, depth + 1)


def _history(value: dict[Any, Any]) -> list[Any] | None:
    """[layer, node, index] of a Keras 3 tensor."""
    config = value.get("config")
    if value.get("class_name") == "__keras_tensor__" and isinstance(config, dict):
        history = config.get("keras_history")
        return history if isinstance(history, list) else None
    return None


def _constants(call: object, config: dict[str, Any]) -> Iterator[tuple[float, bool]]:
    """The numbers among a call's arguments, each with whether it stands before the tensor."""
    match call:
        case {"args": list(args)}:
            for i, value in enumerate(args):
                if _is_number(value):
                    yield float(value), i == 0
        case [[str(), *_] as inner]:
            yield from _constants(inner, {})
        case ["_CONSTANT_VALUE", _, value, *_] if _is_number(value):
            yield float(value), True
        case [str(), int(), int(), {"y": value}] if _is_number(value):
            yield float(value), False
    constants = config.get("constants")  # of a TensorFlowOpLayer, by position
    if isinstance(constants, dict) and len(constants) == 1:
        (position, value), *_ = constants.items()
        if _is_number(value):
            yield float(value), str(position) == "0"


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e30


def _channels_first(config: dict[str, Any], where: str) -> bool:
    """Whether the model's layers keep channels first. Raises BadData where they do not agree."""
    formats: set[str] = set()
    pending: list[tuple[dict[str, Any], int]] = [(config, 0)]
    while pending:
        entry, depth = pending.pop()
        inner = entry.get("config")
        if isinstance(inner, dict) and isinstance(inner.get("data_format"), str):
            formats.add(inner["data_format"])
        layers = inner.get("layers") if isinstance(inner, dict) else inner
        if isinstance(layers, list) and depth <= MOST_NESTED:
            pending += [(layer, depth + 1) for layer in layers if isinstance(layer, dict)]
    if len(formats) > 1:
        raise BadData(f"{where}: its layers keep channels in different places: {', '.join(sorted(formats))[:80]}")
    return formats == {"channels_first"}
