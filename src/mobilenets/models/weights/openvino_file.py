"""The two files of an OpenVINO IR as plain values: layers with attributes, constants, what is fed and taken.

Format: IR versions 10 and 11, an .xml with the layers and a .bin that Const layers point into. Bodies of loops are not
looked into; document types and entities are refused.
"""

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...errors import BadData
from .operators import MOST_OPERATORS, AnyArray, Described, Operator, Value

MOST_XML_BYTES = 50_000_000
MOST_WEIGHT_BYTES = 1 << 30
MOST_ELEMENTS = 2_000_000
MOST_AXES = 8
OLDEST = 10

# element_type of a Const -> (name, how numpy reads it). Others (4 bits, strings) are no constant for us.
TYPES = {
    "f32": ("float32", "<f4"), "f16": ("float16", "<f2"), "bf16": ("bfloat16", "<u2"), "f64": ("float64", "<f8"),
    "i8": ("int8", "i1"), "u8": ("uint8", "u1"), "i16": ("int16", "<i2"), "u16": ("uint16", "<u2"),
    "i32": ("int32", "<i4"), "u32": ("uint32", "<u4"), "i64": ("int64", "<i8"), "u64": ("uint64", "<u8"),
    "boolean": ("bool", "?"),
}  # fmt: skip
PRECISIONS = {"FP32": "f32", "FP16": "f16", "BF16": "bf16", "FP64": "f64", "BOOL": "boolean"}
"""How ports spell the same types; those of whole numbers are only in capitals there."""


@dataclass(frozen=True, slots=True, eq=False)
class OpenVinoFile:
    """shapes: of every tensor, 0 where open. unread: constants whose type is none of `TYPES`."""

    operators: tuple[Operator, ...]
    constants: dict[str, AnyArray]
    unread: frozenset[str]
    inputs: tuple[Described, ...]
    outputs: tuple[Described, ...]
    shapes: dict[str, tuple[int, ...]]
    metadata: dict[str, str]


class _Bounded(ET.TreeBuilder):
    """Builds a tree of at most MOST_ELEMENTS and without a document type, where entities would be declared."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def start(self, tag: str, attrs: dict[str, str]) -> ET.Element:
        self.elements += 1
        if self.elements > MOST_ELEMENTS:
            raise BadData(f"the .xml has more than {MOST_ELEMENTS} elements")
        return super().start(tag, attrs)

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        raise BadData("the .xml declares a document type, which no OpenVINO file does")


def parse(xml: bytes, weights: bytes) -> OpenVinoFile:
    """Raises: BadData for what is no OpenVINO IR, damaged, older than version 10, or larger than is read."""
    net = _tree(xml, weights)
    layers = net.find("layers")
    if net.tag != "net" or layers is None:
        raise BadData("the .xml is no OpenVINO network")
    version = net.get("version", "0")
    if not version.isdecimal() or int(version[:6]) < OLDEST:
        raise BadData(f"IR version {version[:20]!r} is older than {OLDEST}; convert the network anew")
    if len(layers) > MOST_OPERATORS:
        raise BadData(f"{len(layers)} layers belong to no MobileNet")
    return _Reading(weights, _edges(net)).file(layers, _metadata(net))


def _tree(xml: bytes, weights: bytes) -> ET.Element:
    if len(xml) > MOST_XML_BYTES or len(weights) > MOST_WEIGHT_BYTES:
        raise BadData(f"an .xml of {len(xml) / 1e6:.0f} MB with a .bin of {len(weights) / 1e6:.0f} MB is too large")
    try:
        return ET.fromstring(xml, ET.XMLParser(target=_Bounded()))
    except (ET.ParseError, ValueError, LookupError) as error:
        raise BadData(f"the .xml can't be parsed: {str(error)[:100]}") from None


def _edges(net: ET.Element) -> dict[tuple[str, str], tuple[str, str]]:
    """(layer, port) that reads -> (layer, port) that makes."""
    edges = net.find("edges")
    return {
        (edge.get("to-layer", ""), edge.get("to-port", "")): (edge.get("from-layer", ""), edge.get("from-port", ""))
        for edge in (() if edges is None else edges)
    }


def _metadata(net: ET.Element) -> dict[str, str]:
    """Every value of the file's rt_info, by its tag."""
    info = net.find("rt_info")
    found = {"producer": "openvino", "name": net.get("name", "")}
    for element in () if info is None else info.iter():
        if value := element.get("value"):
            found.setdefault(element.tag, value)
    return {key: value for key, value in found.items() if value}


class _Reading:
    """The layers of one file on their way to operators: names of tensors, and what is known of each."""

    def __init__(self, weights: bytes, edges: dict[tuple[str, str], tuple[str, str]]) -> None:
        self.weights = memoryview(weights)
        self.edges = edges
        self.names: dict[tuple[str, str], str] = {}
        self.known: dict[str, Described] = {}

    def file(self, layers: ET.Element, metadata: dict[str, str]) -> OpenVinoFile:
        for layer in layers:
            self._name_outputs(layer)
        operators: list[Operator] = []
        constants: dict[str, AnyArray] = {}
        unread: set[str] = set()
        inputs: list[Described] = []
        outputs: list[Described] = []
        for layer in layers:
            operator = self._operator(layer)
            match operator.kind:
                case "Result":
                    outputs.append(self._known(operator, operator.inputs))
                case "Parameter":
                    inputs.append(self._known(operator, operator.outputs))
                case "Const":
                    array = self._constant(operator)
                    if array is None:
                        unread.add(self._known(operator, operator.outputs).name)
                    else:
                        constants[self._known(operator, operator.outputs).name] = array
                case _ if operator.outputs:
                    operators.append(operator)
        if not operators or not outputs:
            raise BadData("the network has no layers or no result")
        shapes = {name: described.shape for name, described in self.known.items()}
        return OpenVinoFile(
            tuple(operators), constants, frozenset(unread), tuple(inputs), tuple(outputs), shapes, metadata
        )

    def _name_outputs(self, layer: ET.Element) -> None:
        """A tensor's name is the first of its own, else its layer's."""
        at, own = layer.get("id", ""), layer.get("name", "")
        for port in _ports(layer, "output"):
            name = re.split(r"(?<!\\),", port.get("names", ""), maxsplit=1)[0].replace("\\,", ",") or own
            if not name or name in self.known:
                name = f"{own}#{at}.{port.get('id', '')}"
            self.names[at, port.get("id", "")] = name
            precision = port.get("precision", "")
            dtype = TYPES.get(PRECISIONS.get(precision, precision.lower()), ("other", ""))[0]
            self.known[name] = Described(name, _shape(port), dtype)

    def _operator(self, layer: ET.Element) -> Operator:
        at = layer.get("id", "")
        kind, version = layer.get("type", ""), layer.get("version", "")
        data = layer.find("data")
        attributes: dict[str, Value] = {} if data is None else dict(data.attrib)
        attributes["version"] = version
        inputs = []
        for port in _ports(layer, "input"):
            source = self.edges.get((at, port.get("id", "")), ("", ""))
            if source not in self.names:
                raise BadData(f"layer {layer.get('name', at)[:80]!r} reads port {source}, which no layer has")
            inputs.append(self.names[source])
        outputs = tuple(self.names[at, port.get("id", "")] for port in _ports(layer, "output"))
        return Operator(kind, layer.get("name", "") or f"layer {at}", tuple(inputs), outputs, attributes)

    def _known(self, operator: Operator, names: tuple[str, ...]) -> Described:
        if len(names) != 1:
            raise BadData(f"{operator} must have one tensor, not {len(names)}")
        return self.known[names[0]]

    def _constant(self, operator: Operator) -> AnyArray | None:
        """A Const's numbers (bfloat16 as float32); None where the type is none of `TYPES`."""
        if operator.text("element_type", "") not in TYPES:
            return None
        kind, stored = TYPES[operator.text("element_type", "")]
        shape = operator.ints("shape", ())
        offset, size = operator.integer("offset", -1), operator.integer("size", -1)
        if (
            len(shape) > MOST_AXES
            or any(side < 0 for side in shape)
            or math.prod(side or 1 for side in shape) > 1 << 40
        ):
            raise BadData(f"{operator} has the shape {shape[:MOST_AXES]}, which can't be")
        if min(offset, size) < 0 or offset + size > len(self.weights):
            raise BadData(f"{operator} lies at {offset}..{offset + size} of a .bin with {len(self.weights)} bytes")
        if size != math.prod(shape) * np.dtype(stored).itemsize:
            raise BadData(f"{operator} holds {size} bytes; {kind} {shape} takes another number")
        values: AnyArray = np.frombuffer(self.weights[offset : offset + size], stored)
        if kind == "bfloat16":
            values = (values.astype("<u4") << 16).view("<f4")
        return values.reshape(shape)


def _ports(layer: ET.Element, side: str) -> Iterator[ET.Element]:
    ports = layer.find(side)
    yield from () if ports is None else ports.iter("port")


def _shape(port: ET.Element) -> tuple[int, ...]:
    """0 for a side that is left open."""
    sides = [(dim.text or "").strip() for dim in port.iter("dim")]
    return tuple(int(side) if side.isascii() and side.isdigit() and len(side) < 10 else 0 for side in sides)
