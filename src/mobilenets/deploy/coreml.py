"""The Core ML target: an .mlpackage (a folder) of kind ML program, written anywhere and run on macOS.

Converted from torch.export, whose graphs coremltools takes for every network (a TorchScript trace fails for V4's
attention). The outputs stay logits under the task's names: Core ML's own classifier would turn them into a dictionary
of probabilities; the labels travel with the other facts.
"""

import importlib.util
import json
import logging
import math
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BadData, BadModelFile, MissingRuntime, MobilenetsError, UsageError
from ..files import replacing_folder
from ..records import Structure
from ..tasks.interface import Outputs
from .embedded import Embedded, embedded_from_strings
from .executorch_inspection import silent
from .feeding import check_batch
from .tracing import INPUT, Source, first_line, same_padded

if TYPE_CHECKING:
    import torch

    from .targets import Precision

log = logging.getLogger(__name__)

MODEL = Path("Data", "com.apple.CoreML", "model.mlmodel")
_COLOURS = {"rgb": "RGB", "bgr": "BGR", "grey": "GRAYSCALE"}


def export_coreml(source: Source, path: Path, *, facts: Embedded, precision: "Precision") -> None:
    """Write one .mlpackage for iOS 16 / macOS 13 and later, one picture at a time, inputs and outputs float32.

    Input `image` is (1, C, h, w), or a picture (RGB or grey) where the file normalises; further sizes become enumerated
    shapes. precision: of weights and arithmetic. Facts go into the user-defined metadata. Takes 5 to 20 s.
    Raises: UsageError for a network that can't be exported; MissingRuntime where coremltools can't write weights.
    """
    with replacing_folder(path) as temporary:  # first of all: a folder that can't be written must not cost an export
        _require_writer()
        model = _converted(source, facts, precision)
        model.author = "mobilenets"
        model.short_description = f"{facts.network} for {facts.task}: {facts.name}"
        model.version = facts.weights_sha256[:12]
        model.user_defined_metadata.update(facts.as_strings())
        whole = temporary / "whole.mlpackage"  # coremltools insists on the suffix
        with silent():
            model.save(str(whole))
        for part in list(whole.iterdir()):
            os.replace(part, temporary / part.name)
        whole.rmdir()
    log.info("wrote %s (%s)", path, precision)


def _require_writer() -> None:
    """Raises MissingRuntime where coremltools came without the library that writes weights."""
    with silent():
        found = importlib.util.find_spec("coremltools.libmilstoragepython")
    if found is None:
        raise MissingRuntime(
            "this build of coremltools can't write weights: libmilstoragepython (BlobWriter) is missing",
            hint="use Python 3.11 or 3.12 and pip install 'mobilenets[coreml]'",
        )


def _converted(source: Source, facts: Embedded, precision: "Precision") -> Any:
    """The network as coremltools' model."""
    import torch

    threads = torch.get_num_threads()
    sizes = tuple(dict.fromkeys((source.size_px, *source.form.sizes_px)))
    if len(sizes) > 1 and (layer := same_padded(source.network)):
        raise UsageError(
            f"{source.name}: {layer} pads as TensorFlow does, by the size of its input: one file takes one size",
            hint="export one file per size",
        )
    module = source.folded() if facts.inside == "nothing" else _normalising(source.folded(), facts)
    try:
        with silent():
            import coremltools as ct

            program = _program(module, source.channels, sizes)
            return ct.convert(
                program,
                convert_to="mlprogram",
                inputs=[_input(source, facts, sizes)],
                outputs=[ct.TensorType(name=name, dtype=np.float32) for name in source.output_names],
                minimum_deployment_target=ct.target.iOS16,
                compute_precision=ct.precision.FLOAT16 if precision == "float16" else ct.precision.FLOAT32,
            )
    except (RuntimeError, TypeError, ValueError, KeyError, NotImplementedError, AssertionError) as error:
        raise UsageError(f"{source.name} can't be exported to Core ML: {first_line(error)}") from error
    finally:
        torch.set_num_threads(threads)


def _program(module: "torch.nn.Module", channels: int, sizes: tuple[tuple[int, int], ...]) -> Any:
    """The network in torch's own operators, h and w free where there are several sizes, each of which it takes."""
    import torch

    generator = torch.Generator().manual_seed(0)
    largest = max(h for h, _ in sizes), max(w for _, w in sizes)  # maps of one cell would be taken for constants
    free = torch.export.Dim.DYNAMIC
    ends = {axis: free for axis, sides in enumerate(zip(*sizes, strict=True), start=2) if len(set(sides)) > 1}
    example = torch.rand((1, channels, *largest), generator=generator)
    program = torch.export.export(module, (example,), dynamic_shapes=(ends,) if ends else None)
    for size in sizes if ends else ():
        program.module()(torch.rand((1, channels, *size), generator=generator))  # its guards refuse what it can't take
    program = program.run_decompositions({})
    for node in program.graph.nodes:
        if node.op == "call_function" and node.target in (
            torch.ops.aten.hardtanh.default,
            torch.ops.aten.clamp.default,
        ):  # torch writes the bounds of ReLU6 as whole numbers, which coremltools does not compare with floats
            node.args = tuple(float(value) if isinstance(value, int) else value for value in node.args)
    return program


def _input(source: Source, facts: Embedded, sizes: tuple[tuple[int, int], ...]) -> Any:
    """The input: a tensor, or a picture of the record's colours."""
    import coremltools as ct

    shapes = [(1, source.channels, *size) for size in sizes]
    shape = shapes[0] if len(shapes) == 1 else ct.EnumeratedShapes(shapes=shapes, default=shapes[0])
    if facts.inside == "nothing":
        return ct.TensorType(name=INPUT, shape=shape, dtype=np.float32)
    colour = facts.preprocess.colour
    if source.channels != (1 if colour == "grey" else 3):
        raise UsageError(f"{source.name}: Core ML takes pictures of 1 or 3 channels, not {source.channels} of {colour}")
    return ct.ImageType(name=INPUT, shape=shape, color_layout=getattr(ct.colorlayout, _COLOURS[colour]))


def _normalising(network: "torch.nn.Module", facts: Embedded) -> "torch.nn.Module":
    """The network behind (pixels / 255 - mean) / std, from float pixels (N, C, h, w): Core ML's own scale is one number
    for all channels."""
    import torch
    from torch import Tensor, nn

    sides = (facts.preprocess.mean, facts.preprocess.std)
    mean, std = (torch.tensor(values, dtype=torch.float32).reshape(-1, 1, 1) for values in sides)

    class Normalising(nn.Module):
        mean: Tensor
        factor: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.network = network
            self.register_buffer("mean", mean)
            self.register_buffer("factor", 1 / std)

        def forward(self, image: Tensor) -> Any:
            return self.network((image * (1 / 255) - self.mean) * self.factor)

    return Normalising().eval()


def inspect_coreml(path: Path, *, precision: "Precision") -> Structure:
    """What the program consists of, read off its specification."""
    spec = _specification(path)
    operators: Counter[str] = Counter()
    weights: Counter[str] = Counter()
    for function in spec.mlProgram.functions.values():
        for block in function.block_specializations.values():
            for operation in block.operations:
                if operation.type != "const":
                    operators[operation.type] += 1
                for output in operation.outputs if operation.type == "const" else ():
                    tensor = output.type.tensorType
                    sides = [dimension.constant.size for dimension in tensor.dimensions]
                    if sides and tensor.dataType in _TENSOR_TYPES:
                        weights[_TENSOR_TYPES[tensor.dataType]] += math.prod(sides)
    complaints = []
    other = "float32" if precision == "float16" else "float16"
    if weights[other] > weights[precision]:
        complaints.append(f"holds {weights[other]} weights in {other} and {weights[precision]} in {precision}")
    return Structure(dict(operators), dict(weights), operators["transpose"], complaints=tuple(complaints))


_TENSOR_TYPES = {10: "float16", 11: "float32", 21: "int8", 31: "uint8"}
"""Numbers of the MIL specification's DataType whose constants are weights; int32 and bool are sizes and switches."""


def _specification(path: Path) -> Any:
    """The package's specification. Raises BadModelFile for a package that is missing, incomplete or damaged."""
    with silent():
        from coremltools.proto import Model_pb2

    from google.protobuf.message import DecodeError

    try:
        manifest = json.loads((path / "Manifest.json").read_text(encoding="utf-8"))
        items = [entry["path"] for entry in manifest["itemInfoEntries"].values()]
        if missing := next((item for item in items if not (path / "Data" / item).exists()), ""):
            raise BadModelFile(f"{path}: is incomplete: {missing} is missing")
        spec = Model_pb2.Model()
        spec.ParseFromString((path / MODEL).read_bytes())
    except OSError as error:
        raise BadModelFile(f"{path}: can't be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, DecodeError) as error:
        raise BadModelFile(f"{path}: is no Core ML package: {first_line(error)}") from error
    if not spec.mlProgram.functions:
        raise BadModelFile(f"{path}: holds no ML program")
    return spec


# --- running, on macOS ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class CoreMlSession:
    """An .mlpackage loaded in Core ML, which picks CPU, GPU or Neural Engine and is safe to call from several threads.

    sizes: the (h, w) that it takes, where they are enumerated.
    """

    path: Path
    input_name: str
    input_shape: tuple[int | None, ...]
    input_dtype: np.dtype[Any]
    output_names: tuple[str, ...]
    facts: Embedded | None
    sizes: tuple[tuple[int, int], ...]
    runtime: Any

    def run(self, batch: NDArray[np.generic]) -> Outputs:
        """The outputs for a batch, one picture after the other. Raises BadData for a batch of another shape or type."""
        self._check(batch)
        try:
            rows = [self.runtime.predict({self.input_name: self._picture(batch[k : k + 1])}) for k in range(len(batch))]
        except RuntimeError as error:
            raise BadModelFile(f"{self.path}: Core ML stopped: {first_line(error)}") from error
        outputs = tuple(np.concatenate([np.array(row[name], np.float32) for row in rows]) for name in self.output_names)
        return outputs[0] if len(outputs) == 1 else outputs

    def _picture(self, image: NDArray[np.generic]) -> Any:
        """One picture as Core ML takes it: the tensor itself, or a Pillow image of RGB or grey pixels."""
        if self.input_dtype != np.uint8:
            return np.ascontiguousarray(image)
        from PIL import Image

        pixels = image[0, :, :, 0] if image.shape[-1] == 1 else image[0]
        if self.facts is not None and self.facts.preprocess.colour == "bgr":
            pixels = pixels[:, :, ::-1]  # Core ML turns RGB pictures into what the network takes
        return Image.fromarray(np.ascontiguousarray(pixels))

    def _check(self, batch: NDArray[np.generic]) -> None:
        check_batch(batch, self.input_shape, self.input_dtype, where=self.path)
        size = batch.shape[1:3] if self.input_dtype == np.uint8 else batch.shape[2:4]
        if self.sizes and size not in self.sizes:
            sizes = ", ".join(f"{h}x{w}" for h, w in self.sizes)
            raise BadData(f"{self.path}: takes pictures of {sizes} (h x w), got {size[0]}x{size[1]}")


def open_coreml(path: Path, *, threads: int) -> CoreMlSession:
    """Load an .mlpackage, on macOS. `threads` has no say: Core ML spreads its work itself.

    Raises: BadModelFile for a package that is missing, damaged, or takes no picture.
    """
    described = _specification(path).description
    if len(described.input) != 1:
        raise BadModelFile(f"{path}: must have one image input, not {len(described.input)}")
    kind = described.input[0].type.WhichOneof("Type")
    if kind not in ("multiArrayType", "imageType"):
        raise BadModelFile(f"{path}: must have an image input, not {kind}")
    facts = embedded_from_strings(dict(described.metadata.userDefined), where=str(path))
    shape, sizes = _fed(described.input[0].type)
    try:
        with silent():
            import coremltools as ct

            runtime = ct.models.MLModel(str(path))
    except (RuntimeError, ValueError) as error:
        raise BadModelFile(f"{path}: Core ML can't load it: {first_line(error)}") from error
    return CoreMlSession(
        path=path,
        input_name=described.input[0].name,
        input_shape=shape,
        input_dtype=np.dtype(np.uint8 if kind == "imageType" else np.float32),
        output_names=tuple(output.name for output in described.output),
        facts=facts,
        sizes=sizes,
        runtime=runtime,
    )


def _fed(described: Any) -> tuple[tuple[int | None, ...], tuple[tuple[int, int], ...]]:
    """The shape that an input takes, batch first and free, and its (h, w) where there are several."""
    if described.WhichOneof("Type") == "imageType":
        image = described.imageType
        sizes = tuple((size.height, size.width) for size in image.enumeratedSizes.sizes)
        channels = 1 if image.colorSpace == image.GRAYSCALE else 3
        return (None, *_free_where_several((image.height, image.width), sizes), channels), sizes
    array = described.multiArrayType
    sizes = tuple((entry.shape[2], entry.shape[3]) for entry in array.enumeratedShapes.shapes)
    channels, height, width = array.shape[1:]
    return (None, channels, *_free_where_several((height, width), sizes)), sizes


def _free_where_several(usual: tuple[int, int], sizes: tuple[tuple[int, int], ...]) -> tuple[int | None, int | None]:
    height, width = usual
    return (
        None if len({h for h, _ in sizes}) > 1 else height,
        None if len({w for _, w in sizes}) > 1 else width,
    )


def probe_coreml() -> None:
    """Run a program of one operator in Core ML, on macOS. Raises whatever stands in the way, as an error of ours."""
    try:
        with silent():
            import coremltools as ct
            from coremltools.converters.mil import Builder

            @Builder.program(input_specs=[Builder.TensorSpec(shape=(1, 2))], opset_version=ct.target.iOS16)  # type: ignore[untyped-decorator]  # ships none
            def program(x: Any) -> Any:
                return Builder.relu(x=x, name="y")

            model = ct.convert(program, convert_to="mlprogram", compute_precision=ct.precision.FLOAT32)
            answer = np.ravel(model.predict({"x": np.array([[-1.0, 2.0]], np.float32)})["y"]).tolist()
    except (RuntimeError, ValueError) as error:
        raise MobilenetsError(f"Core ML does not run: {first_line(error)}") from error
    if answer != [0.0, 2.0]:
        raise MobilenetsError(f"Core ML computes relu(-1, 2) as {answer}")
