"""TensorFlow checkpoints (V2: `.index` beside `.data-*`) and `.npz` archives to named float32 arrays, by numpy alone.

The index is a sorted table as LevelDB writes it: blocks of entries whose keys share prefixes, a footer that points at
the block of blocks. Its values are small protobufs (dtype, shape, shard, offset, size, checksum). Every offset and
size is checked before it is followed; checksums of the blocks and of the tensors are verified.
"""

import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from ...errors import BadData
from .crc32c import crc32c
from .graph import Array

MAGIC = 0xDB4775248B80FB57
FOOTER = 48
MOST_INDEX = 50_000_000
MOST_VALUES = 200_000_000
"""Numbers in all arrays of a checkpoint together; V4 hybrid large with Adam's states and averages has 150 million."""
MOST_AXES = 16
OBJECT_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 4: "|u1", 5: "<i2", 6: "|i1", 9: "<i8", 10: "|b1", 19: "<f2"}
"""TensorFlow's numbers for dtypes; strings (7) and others are passed over, bfloat16 (14) is widened."""
BFLOAT16 = 14

_NPZ_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, OSError, SyntaxError, TypeError)


def read_checkpoint(prefix: Path) -> dict[str, Array]:
    """Every numeric tensor of a checkpoint, as float32 by its name; "/.ATTRIBUTES/VARIABLE_VALUE" is taken off.

    prefix: of the files ("model.ckpt-1000"), or one of them. Raises BadData for a damaged or incomplete checkpoint.
    """
    prefix = _prefix(prefix)
    index = _read(prefix.with_name(prefix.name + ".index"), MOST_INDEX)
    where = f"{prefix.name}.index"
    shards, entries = 1, list[tuple[str, dict[int, list[int | bytes]]]]()
    for key, value in _table(index, where):
        fields = _fields(value, where)
        if not key:
            shards = _int(fields, 1, where) or 1
        else:
            entries.append((_text(key, where), fields))
    if not 1 <= shards <= 10_000:
        raise BadData(f"{where}: {shards} data files")
    found: dict[str, Array] = {}
    values = 0
    for name, fields in entries:
        dtype, shape = _int(fields, 1, where), _shape(fields, f"{where}: {name}")
        if dtype not in DTYPES and dtype != BFLOAT16:
            continue
        if 7 in fields:
            raise BadData(f"{where}: {name} is stored in slices; save the checkpoint without partitioned variables")
        values += int(np.prod(shape, dtype=object)) if shape else 1
        if values > MOST_VALUES:
            raise BadData(f"{where}: more than {MOST_VALUES} numbers")
        shard = _int(fields, 3, where)
        if shard >= shards:
            raise BadData(f"{where}: {name} is in data file {shard} of {shards}")
        data = prefix.with_name(f"{prefix.name}.data-{shard:05d}-of-{shards:05d}")
        found[name.removesuffix(OBJECT_SUFFIX)] = _tensor(data, dtype, shape, fields, f"{where}: {name}")
    if not found:
        raise BadData(f"{where}: no tensors in it")
    return found


def read_npz(path: Path) -> dict[str, Array]:
    """Every numeric array of an `.npz`, as float32. Nothing is unpickled. Raises BadData for a damaged archive."""
    found: dict[str, Array] = {}
    values = 0
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                with archive.open(info) as member:
                    shape, dtype = _header(member, f"{path}: {info.filename}")
                size = int(np.prod(shape, dtype=object)) if shape else 1
                values += size
                if values > MOST_VALUES or not 0 <= size * dtype.itemsize <= info.file_size:
                    raise BadData(f"{path}: {info.filename} claims {size} numbers")
                if dtype.kind in "fiub":
                    with archive.open(info) as member:
                        array = np.lib.format.read_array(member, allow_pickle=False)
                    found[info.filename.removesuffix(".npy")] = array.astype(np.float32)
    except _NPZ_ERRORS as error:
        raise BadData(f"{path}: not a whole .npz archive: {str(error)[:200]}") from error
    if not found:
        raise BadData(f"{path}: no numeric arrays in it")
    return found


def _prefix(path: Path) -> Path:
    name = path.name.removesuffix(".index")
    stem, mark, _ = name.rpartition(".data-")
    return path.with_name(stem if mark else name)


def _read(path: Path, most: int) -> bytes:
    try:
        if path.stat().st_size > most:
            raise BadData(f"{path}: larger than {most} bytes")
        return path.read_bytes()
    except OSError as error:
        raise BadData(f"{path}: can't be read: {error.strerror or error}") from error


def _table(data: bytes, where: str) -> Iterator[tuple[bytes, bytes]]:
    """The entries of a sorted table, in order."""
    if len(data) < FOOTER or struct.unpack("<Q", data[-8:])[0] != MAGIC:
        raise BadData(f"{where}: not a checkpoint's index (its last bytes are not a table's)")
    footer = memoryview(data)[-FOOTER:-8]
    at = 0
    handle: list[int] = []
    for _ in range(4):
        number, at = _varint(footer, at, where)
        handle.append(number)
    read = 0
    for _, pointer in _block(data, handle[2], handle[3], where):
        offset, at = _varint(memoryview(pointer), 0, where)
        size, _ = _varint(memoryview(pointer), at, where)
        read += size
        if read > len(data):
            raise BadData(f"{where}: its blocks overlap")
        yield from _block(data, offset, size, where)


def _block(data: bytes, offset: int, size: int, where: str) -> Iterator[tuple[bytes, bytes]]:
    """The entries of one block: it ends with a table of restarts, a compression byte and a checksum."""
    if offset + size + 5 > len(data) or size < 4:
        raise BadData(f"{where}: a block reaches past the end of the file")
    kind, checksum = data[offset + size], struct.unpack("<I", data[offset + size + 1 : offset + size + 5])[0]
    if kind != 0:
        raise BadData(f"{where}: its blocks are compressed ({'snappy' if kind == 1 else kind}), which is not read here")
    if _masked(crc32c(data[offset : offset + size + 1])) != checksum:
        raise BadData(f"{where}: a block's checksum is wrong")
    block = memoryview(data)[offset : offset + size]
    restarts = struct.unpack("<I", block[-4:])[0]
    end = size - 4 - 4 * restarts
    if end < 0:
        raise BadData(f"{where}: a malformed block")
    at, key, copied = 0, b"", 0
    while at < end:
        shared, at = _varint(block, at, where)
        added, at = _varint(block, at, where)
        length, at = _varint(block, at, where)
        copied += shared
        if shared > len(key) or at + added + length > end or copied > MOST_INDEX:
            raise BadData(f"{where}: a malformed entry")
        key = key[:shared] + bytes(block[at : at + added])
        at += added
        yield key, bytes(block[at : at + length])
        at += length


def _varint(data: memoryview, at: int, where: str) -> tuple[int, int]:
    value = 0
    for i in range(10):
        if at + i >= len(data):
            break
        value |= (data[at + i] & 127) << 7 * i
        if data[at + i] < 128:
            return value, at + i + 1
    raise BadData(f"{where}: a malformed number")


def _fields(message: bytes, where: str) -> dict[int, list[int | bytes]]:
    """A protobuf message's fields by number: integers, or the bytes of strings and messages."""
    view, found, at = memoryview(message), dict[int, list[int | bytes]](), 0
    while at < len(view):
        tag, at = _varint(view, at, where)
        value: int | bytes
        match tag & 7:
            case 0:
                value, at = _varint(view, at, where)
            case 2:
                size, at = _varint(view, at, where)
                value, at = bytes(view[at : at + size]), at + size
            case 5:
                value, at = int.from_bytes(view[at : at + 4], "little"), at + 4
            case 1:
                value, at = int.from_bytes(view[at : at + 8], "little"), at + 8
            case _:
                raise BadData(f"{where}: a malformed entry")
        if at > len(view):
            raise BadData(f"{where}: a malformed entry")
        found.setdefault(tag >> 3, []).append(value)
    return found


def _int(fields: dict[int, list[int | bytes]], number: int, where: str) -> int:
    value = fields.get(number, [0])[-1]
    if not isinstance(value, int):
        raise BadData(f"{where}: a malformed entry")
    return value


def _shape(fields: dict[int, list[int | bytes]], where: str) -> tuple[int, ...]:
    sides: list[int] = []
    for shape in fields.get(2, []):
        if not isinstance(shape, bytes):
            raise BadData(f"{where} has a malformed shape")
        for axis in _fields(shape, where).get(2, []):
            sides.append(_int(_fields(axis, where), 1, where) if isinstance(axis, bytes) else -1)
    if len(sides) > MOST_AXES or any(not 0 <= side < 2**31 for side in sides):
        raise BadData(f"{where} has a malformed shape {sides[:MOST_AXES]}")
    return tuple(sides)


def _tensor(path: Path, dtype: int, shape: tuple[int, ...], fields: dict[int, list[int | bytes]], where: str) -> Array:
    """The tensor of an entry, from its data file."""
    kind = np.dtype(DTYPES.get(dtype, "<u2"))
    offset, size = _int(fields, 4, where), _int(fields, 5, where)
    if size != int(np.prod(shape, dtype=object)) * kind.itemsize:
        raise BadData(f"{where} has {size} bytes for shape {shape}")
    try:
        with path.open("rb") as file:
            if offset + size > path.stat().st_size:
                raise BadData(f"{where} reaches past the end of {path.name}")
            file.seek(offset)
            raw = file.read(size)
    except OSError as error:
        raise BadData(f"{path}: can't be read: {error.strerror or error}") from error
    if 6 in fields and _masked(crc32c(raw)) != _int(fields, 6, where):
        raise BadData(f"{where} has a wrong checksum: {path.name} is damaged")
    values: NDArray[np.generic] = np.frombuffer(raw, kind)
    if dtype == BFLOAT16:
        values = (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float32).reshape(shape)


def _masked(checksum: int) -> int:
    """A checksum as it is stored: rotated and moved, so that a checksum of checksums is none of zeros."""
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _text(key: bytes, where: str) -> str:
    try:
        return key.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadData(f"{where}: a name that is no text") from error


def _header(member: IO[bytes], where: str) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    """(shape, dtype) of a `.npy`, before anything is allocated for it."""
    version = np.lib.format.read_magic(member)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise BadData(f"{where}: unknown version {version}")
    try:
        with warnings.catch_warnings():  # numpy warns of headers that it takes for Python 2's
            warnings.simplefilter("ignore")
            shape, _, dtype = read(member)
    except tokenize.TokenError as error:
        raise BadData(f"{where}: its header is no .npy file's") from error
    if dtype.hasobject:
        raise BadData(f"{where} holds pickled objects, which are not opened")
    return shape, dtype
