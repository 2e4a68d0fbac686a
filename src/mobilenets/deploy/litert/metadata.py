"""LiteRT's own metadata, which its Android and Python libraries read: what goes in, how it is normalised, the labels.

A flatbuffer of its own (tflite-support's metadata_schema.fbs, version 1.1), in the buffer named TFLITE_METADATA; the
label file it names is in a zip behind the model, which the runtime does not look at. The bindings of that schema are
in a package that is no longer made, so its few tables are written by hand: fields by the number they have there.
"""

import io
import zipfile
from typing import Any

from ..embedded import Embedded

NAME = "TFLITE_METADATA"
IDENTIFIER = b"M001"
LABELS_FILE = "labels.txt"
_PARSER_VERSION = "1.0.0"
_AXIS_LABELS, _IMAGE, _NORMALISATION, _RGB, _GRAY = 2, 2, 1, 1, 2
_LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The zip's date: the same network makes the same bytes."""


def metadata_buffer(facts: Embedded) -> bytes:
    """The metadata as bytes. Normalisation is that of pixels 0 to 255, (pixel - mean) / std."""
    import flatbuffers

    tables = _Tables(flatbuffers.Builder(1024))
    record = facts.preprocess
    h, w = record.size_px
    size = tables.table(uint32={0: w, 1: h})
    colours = tables.table(int8={0: _GRAY if record.channels == 1 else _RGB}, offsets={1: size})
    content = tables.table(int8={0: _IMAGE}, offsets={1: colours})
    units = []
    if facts.inside == "nothing":
        mean, std = (tables.floats([255 * x for x in side]) for side in (record.mean, record.std))
        options = tables.table(offsets={0: mean, 1: std})
        units.append(tables.table(int8={0: _NORMALISATION}, offsets={1: options}))
    given = {0: tables.text("image"), 3: content}
    if units:
        given[4] = tables.vector(units)
    image = tables.table(offsets=given)
    labels = tables.table(offsets={0: tables.text(LABELS_FILE)}, int8={2: _AXIS_LABELS})
    taken = [
        tables.table(
            offsets={0: tables.text(name), 6: tables.vector([labels])} if place == 0 else {0: tables.text(name)}
        )
        for place, name in enumerate(facts.output_names)
    ]
    graph = tables.table(offsets={2: tables.vector([image]), 3: tables.vector(taken)})
    model = {
        0: tables.text(facts.name),
        1: tables.text(f"{facts.network} for {facts.task}"),
        3: tables.vector([graph]),
        7: tables.text(_PARSER_VERSION),
    }
    tables.builder.Finish(tables.table(offsets=model), file_identifier=IDENTIFIER)
    return bytes(tables.builder.Output())


def with_label_file(model: bytes, facts: Embedded) -> bytes:
    """The model with its labels behind it, one id a line in the order of the classes, as an ordinary zip."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as file:
        lines = (" ".join(label.split()) for label in facts.labels.ids)
        file.writestr(zipfile.ZipInfo(LABELS_FILE, _LONG_AGO), "".join(f"{line}\n" for line in lines))
    return model + archive.getvalue()


class _Tables:
    """Tables of a schema without bindings: fields by number."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder

    def text(self, words: str) -> int:
        return int(self.builder.CreateString(words))

    def floats(self, values: list[float]) -> int:
        self.builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            self.builder.PrependFloat32(value)
        return int(self.builder.EndVector())

    def vector(self, offsets: list[int]) -> int:
        self.builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self.builder.PrependUOffsetTRelative(offset)
        return int(self.builder.EndVector())

    def table(
        self,
        *,
        offsets: dict[int, int] | None = None,
        uint32: dict[int, int] | None = None,
        int8: dict[int, int] | None = None,
    ) -> int:
        fields = {**(offsets or {}), **(uint32 or {}), **(int8 or {})}
        self.builder.StartObject(max(fields) + 1)
        for number, offset in (offsets or {}).items():
            self.builder.PrependUOffsetTRelativeSlot(number, offset, 0)
        for number, value in (uint32 or {}).items():
            self.builder.PrependUint32Slot(number, value, 0)
        for number, value in (int8 or {}).items():
            self.builder.PrependInt8Slot(number, value, 0)
        return int(self.builder.EndObject())
