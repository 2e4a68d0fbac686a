"""A network on its way into exported files: folded, traced once, and shared by all targets that start from a graph.

The graph is ONNX as torch's exporter writes it, tidied: batch norms folded into the convolutions, hard-swish and
hard-sigmoid one operator each (decomposed they cost 12 to 14 %), the batch free, values named after the layers of the
network, pads frozen, no notes of the exporter, which hold paths of the machine. Needs torch, onnx and onnxscript.
"""

import contextlib
import copy
import io
import logging
import warnings
from ast import literal_eval
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import MobilenetsError, UsageError

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch import nn

log = logging.getLogger(__name__)

INPUT = "image"
BATCH, HEIGHT, WIDTH = "batch", "height", "width"
MIN_OPSET = 17
"""Older ones lack what later steps need (per-channel QDQ from 13, LayerNormalization 17); the exporter writes 18+."""
EXAMPLE_BATCH = 2
"""An example batch of 1 would be taken for a constant (torch.export specialises 0 and 1)."""
_SCOPES = "pkg.torch.onnx.name_scopes"


@dataclass(frozen=True, slots=True)
class Form:
    """How an exported file is to be fed beside the usual way.

    sizes_px: further (h, w) that the one file must take, beside the size of the preprocess record.
    with_preprocess: pictures go in; as much of the preprocessing is inside as the target can say.
    """

    sizes_px: tuple[tuple[int, int], ...] = ()
    with_preprocess: bool = False


PLAIN = Form()


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A network to be exported: its name, its outputs, what it takes (float32 NCHW), and its graphs as they are made.

    network: stays as it was, in its mode and on its device; everything is done to a folded copy.
    channels, size_px: of its input. sizes_px: other (h, w) that files are to take too.
    """

    network: "nn.Module"
    name: str
    output_names: tuple[str, ...]
    channels: int
    size_px: tuple[int, int]
    form: Form = PLAIN
    _made: dict[object, Any] = field(default_factory=dict)

    def folded(self) -> "nn.Module":
        """A copy on the CPU in float32 and eval mode with every backbone folded. The same object every time: don't
        change it."""
        if "folded" not in self._made:
            import torch

            whole = _folded(self.network).to("cpu", torch.float32).eval().requires_grad_(False)
            self._made["folded"] = whole
        module: nn.Module = self._made["folded"]
        return module

    def graph(self, size_px: tuple[int, int] | None = None) -> "ModelProto":
        """The float32 graph, input `image` (batch, C, h, w) with a free batch. The caller gets a copy of its own.

        size_px: for another size than the usual one. Raises: UsageError for a network that ONNX can't express.
        """
        return self._graph(size_px or self.size_px, free_size=False)

    def graph_of_any_size(self) -> "ModelProto":
        """As `graph` with free height and width. Raises: UsageError for a network whose pads depend on the size."""
        return self._graph(self.size_px, free_size=True)

    def _graph(self, size_px: tuple[int, int], *, free_size: bool) -> "ModelProto":
        key = (size_px, free_size)
        if key not in self._made:
            if free_size and (layer := same_padded(self.network)):
                raise UsageError(
                    f"{self.name}: {layer} pads as TensorFlow does, by the size of its input: one file takes one size",
                    hint="export one file per size",
                )
            self._made[key] = _traced(self, size_px, free_size=free_size)
        proto: ModelProto = copy.deepcopy(self._made[key])
        return proto


def same_padded(network: "nn.Module") -> str:
    """The name of the first layer whose pads depend on the size of its input; empty where there is none."""
    from ..models.layers import Pooling, SamePadConv2d

    sized = (
        name
        for name, module in network.named_modules()
        if isinstance(module, SamePadConv2d) or (isinstance(module, Pooling) and module.same)
    )
    return next(sized, "")


def _folded(network: "nn.Module") -> "nn.Module":
    """A copy with every backbone folded, whatever a task has put around it."""
    from ..models import Network, fold

    if isinstance(network, Network):
        return fold(network)
    whole = copy.deepcopy(network)
    for name, module in list(whole.named_modules()):
        if isinstance(module, Network):
            whole.set_submodule(name, fold(module))
    return whole


def _traced(source: Source, size_px: tuple[int, int], *, free_size: bool) -> "ModelProto":
    """The graph as torch's exporter makes it, tidied and checked."""
    import torch

    threads = torch.get_num_threads()
    generator = torch.Generator().manual_seed(0)
    example = torch.rand((EXAMPLE_BATCH, source.channels, *size_px), generator=generator)
    free = torch.export.Dim.DYNAMIC
    shapes = {0: free, 2: free, 3: free} if free_size else {0: free}
    try:
        with quiet():
            program = torch.onnx.export(
                source.folded(),
                (example,),
                dynamo=True,
                verbose=False,
                input_names=[INPUT],
                output_names=list(source.output_names),
                dynamic_shapes=(shapes,),
                external_data=False,
            )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError, TypeError, ValueError) as error:
        raise UsageError(f"{source.name} can't be exported: {first_line(error)}") from error
    finally:
        torch.set_num_threads(threads)
    if program is None:
        raise MobilenetsError(f"{source.name}: torch's exporter gave no program")
    proto: ModelProto = program.model_proto
    _name_values(proto)
    _tidy(proto)
    check_graph(proto)
    return proto


def _name_values(proto: "ModelProto") -> None:
    """Name every inner value and node after the layer that makes it: "backbone.blocks.0.dw.conv", or with what it does
    where a layer has several operators. All formats keep these names, so that a layer is called the same everywhere."""
    graph = proto.graph
    fixed = {value.name for value in (*graph.input, *graph.output, *graph.initializer)}
    new: dict[str, str] = {}
    taken = set(fixed)
    for node in graph.node:
        scopes = next((entry.value for entry in node.metadata_props if entry.key == _SCOPES), "[]")
        path = [scope for scope in literal_eval(scopes) if scope]
        layer = path[-2] if len(path) > 1 else ""
        for output in node.output:
            base = layer if layer and layer not in taken else ".".join(filter(None, (layer, node.op_type)))
            name, count = base, 2
            while name in taken:
                name, count = f"{base}.{count}", count + 1
            new[output] = output if output in fixed else name
            taken.add(new[output])
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [new.get(name, name) for name in names]
        node.name = node.output[0]
    for value in graph.value_info:
        value.name = new.get(value.name, value.name)


def _tidy(proto: "ModelProto") -> None:
    """Name the free dimensions, and drop the exporter's notes, which hold paths and half of a small file."""
    graph = proto.graph
    words = {
        dim.dim_param: name
        for dim, name in zip(graph.input[0].type.tensor_type.shape.dim, (BATCH, "", HEIGHT, WIDTH), strict=True)
        if dim.dim_param
    }
    for value in (*graph.input, *graph.output, *graph.value_info):
        value.ClearField("metadata_props")
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in words:
                dim.dim_param = words[dim.dim_param]
    for part in (*graph.node, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    graph.ClearField("metadata_props")
    graph.ClearField("doc_string")
    proto.ClearField("metadata_props")


def check_graph(proto: "ModelProto") -> None:
    """Raises MobilenetsError for a graph that breaks ONNX's own rules or ours: such a file must not be written."""
    import onnx

    try:
        onnx.checker.check_model(proto, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise MobilenetsError(f"the exported graph is not valid ONNX: {first_line(error)}") from error
    opset = next(entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx"))
    batch = proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    if opset < MIN_OPSET or batch != BATCH or len(proto.graph.input) != 1:
        raise MobilenetsError(f"the exported graph has opset {opset} and batch {batch or 'fixed'}; want 17+ and free")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep an exporter's progress lines and its warnings (about its own internals) from the user's terminal."""
    noise = io.StringIO()
    with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(noise):
        warnings.simplefilter("always")
        yield
    for warning in caught:
        log.debug("exporter: %s", warning.message)


def first_line(error: BaseException) -> str:
    """What an error says, on one line; of a chain the cause, which names the operator."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__
