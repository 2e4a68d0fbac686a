"""TensorFlow checkpoints: what a writer of the format writes is read back bit by bit; damage is one line."""

import random
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mobilenets.errors import BadData
from mobilenets.models.weights.crc32c import SHORT, crc32c
from mobilenets.models.weights.tf_checkpoint import read_checkpoint, read_npz

CODES = {"float32": 1, "float64": 2, "int32": 3, "uint8": 4, "int64": 9, "bool": 10, "float16": 19}
SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"


def varint(n: int) -> bytes:
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes([*out, n])


def crc_bit_by_bit(data: bytes) -> int:
    """The checksum straight from its definition."""
    rest = 0xFFFFFFFF
    for byte in data:
        rest ^= byte
        for _ in range(8):
            rest = rest >> 1 ^ (0x82F63B78 if rest & 1 else 0)
    return rest ^ 0xFFFFFFFF


def masked(data: bytes) -> int:
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) & 0xFFFFFFFF) + 0xA282EAD8 & 0xFFFFFFFF


def block(entries: list[tuple[bytes, bytes]], *, kind: int = 0, restart_every: int = 4) -> bytes:
    """A block of a sorted table: keys without what they share with the one before, restarts, kind, checksum."""
    out, before, restarts = bytearray(), b"", list[int]()
    for i, (key, value) in enumerate(entries):
        shared = 0
        if i % restart_every == 0:
            restarts.append(len(out))
        else:
            while shared < min(len(key), len(before)) and key[shared] == before[shared]:
                shared += 1
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    out += b"".join(struct.pack("<I", at) for at in restarts or [0]) + struct.pack("<I", max(len(restarts), 1))
    return bytes(out) + bytes([kind]) + struct.pack("<I", masked(bytes(out) + bytes([kind])))


def table(entries: list[tuple[bytes, bytes]], *, per_block: int = 8, kind: int = 0) -> bytes:
    out, index = b"", list[tuple[bytes, bytes]]()
    for i in range(0, len(entries), per_block):
        part = block(entries[i : i + per_block], kind=kind)
        index.append((entries[i : i + per_block][-1][0], varint(len(out)) + varint(len(part) - 5)))
        out += part
    handles = b""
    for part in (block([]), block(index)):
        handles += varint(len(out)) + varint(len(part) - 5)
        out += part
    return out + handles.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)


def entry(array: NDArray[np.generic], shard: int, offset: int, raw: bytes, *, code: int | None = None) -> bytes:
    dims = b"".join(b"\x12" + varint(len(d)) + d for d in (b"\x08" + varint(n) for n in array.shape))
    out = b"\x08" + varint(code or CODES[array.dtype.name]) + b"\x12" + varint(len(dims)) + dims
    if shard:
        out += b"\x18" + varint(shard)
    out += b"\x20" + varint(offset) + b"\x28" + varint(len(raw))
    return out + b"\x35" + struct.pack("<I", masked(raw))


def write(prefix: Path, arrays: Mapping[str, NDArray[np.generic]], *, shards: int = 1, kind: int = 0) -> None:
    data = [b""] * shards
    entries = [(b"", b"\x08" + varint(shards) + b"\x1a\x02\x08\x01")]
    for i, (name, array) in enumerate(sorted(arrays.items())):
        raw, shard = array.tobytes(), i % shards
        entries.append((name.encode(), entry(array, shard, len(data[shard]), raw)))
        data[shard] += raw
    prefix.with_name(f"{prefix.name}.index").write_bytes(table(entries, kind=kind))
    for i, part in enumerate(data):
        prefix.with_name(f"{prefix.name}.data-{i:05d}-of-{shards:05d}").write_bytes(part)


def is_refused(read: Callable[[], object]) -> bool:
    """Whether `read` ends in BadData, of one line, rather than well; any other exception is a failure."""
    try:
        read()
    except BadData as error:
        return "\n" not in error.message or pytest.fail(error.message)
    return False


@pytest.fixture
def arrays() -> dict[str, NDArray[np.generic]]:
    rng = np.random.default_rng(0)
    found: dict[str, NDArray[np.generic]] = {
        f"MobilenetV1/Conv2d_{i}_depthwise/BatchNorm/{leaf}": rng.normal(size=16).astype(np.float32)
        for i in range(13)
        for leaf in ("beta", "gamma", "moving_mean", "moving_variance")
    }
    found["MobilenetV1/Conv2d_0/weights"] = rng.normal(size=(3, 3, 3, 16)).astype(np.float32)
    found["MobilenetV1/Conv2d_1_pointwise/weights"] = rng.normal(size=(1, 1, 16, 80)).astype(np.float16)
    found["global_step"] = np.asarray(1234, np.int64)
    found["empty"] = np.zeros((0, 3), np.float32)
    return found


@pytest.mark.parametrize("size", [0, 1, 3, 9, SHORT - 1, SHORT, SHORT + 1, 5000, 20_481])
def test_checksum_is_crc32c(size: int) -> None:
    data = np.random.default_rng(size).bytes(size)
    assert crc32c(data) == crc_bit_by_bit(data)
    assert crc32c(b"123456789") == 0xE3069283  # RFC 3720's catalogue value


@pytest.mark.parametrize("shards", [1, 3])
def test_reads_back_every_bit(tmp_path: Path, arrays: dict[str, NDArray[np.generic]], shards: int) -> None:
    write(tmp_path / "model.ckpt-7", arrays, shards=shards)
    names = ("model.ckpt-7", "model.ckpt-7.index", f"model.ckpt-7.data-00000-of-{shards:05d}")
    for name in names:
        found = read_checkpoint(tmp_path / name)
        assert found.keys() == arrays.keys()
        for key, array in arrays.items():
            assert found[key].dtype == np.float32
            assert found[key].shape == array.shape
            assert np.array_equal(found[key], array.astype(np.float32))


def test_object_names_lose_their_suffix(tmp_path: Path) -> None:
    write(tmp_path / "ckpt-1", {f"backbone/layer_with_weights-0/kernel{SUFFIX}": np.ones((2, 2), np.float32)})
    assert list(read_checkpoint(tmp_path / "ckpt-1")) == ["backbone/layer_with_weights-0/kernel"]


def test_strings_are_passed_over_and_bfloat16_is_widened(tmp_path: Path) -> None:
    wide = np.array([1.0, -2.5, 3e38], np.float32)
    narrow = (wide.view(np.uint32) >> 16).astype(np.uint16)
    graph = np.zeros(3, np.uint8)
    entries = [
        (b"", b"\x08\x01"),
        (b"_CHECKPOINTABLE_OBJECT_GRAPH", entry(graph, 0, 6, b"abc", code=7)),
        (b"w", entry(narrow, 0, 0, narrow.tobytes(), code=14)),
    ]
    (tmp_path / "c.index").write_bytes(table(entries))
    (tmp_path / "c.data-00000-of-00001").write_bytes(narrow.tobytes() + b"abc")
    found = read_checkpoint(tmp_path / "c")
    assert list(found) == ["w"]
    assert np.array_equal(found["w"], (narrow.astype(np.uint32) << 16).view(np.float32))


def test_damage_is_named(tmp_path: Path, arrays: dict[str, NDArray[np.generic]]) -> None:
    prefix = tmp_path / "m"
    write(prefix, arrays)
    data, index = tmp_path / "m.data-00000-of-00001", tmp_path / "m.index"
    whole, table_bytes = data.read_bytes(), index.read_bytes()
    data.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(BadData, match=r"wrong checksum: m\.data-00000-of-00001 is damaged"):
        read_checkpoint(prefix)
    data.write_bytes(whole[:-1])
    with pytest.raises(BadData, match="past the end"):
        read_checkpoint(prefix)
    data.unlink()
    with pytest.raises(BadData, match="can't be read"):
        read_checkpoint(prefix)
    index.write_bytes(bytes([table_bytes[0] ^ 255]) + table_bytes[1:])
    with pytest.raises(BadData, match="block's checksum"):
        read_checkpoint(prefix)
    index.write_bytes(table_bytes[:-1])
    with pytest.raises(BadData, match="not a checkpoint's index"):
        read_checkpoint(prefix)
    write(prefix, arrays, kind=1)
    with pytest.raises(BadData, match="snappy"):
        read_checkpoint(prefix)


def test_a_claimed_size_is_never_allocated(tmp_path: Path) -> None:
    huge = b"\x08\x01\x12\x08\x12\x06\x08" + varint(2**30) + b"\x28" + varint(2**32)
    (tmp_path / "h.index").write_bytes(table([(b"", b"\x08\x01"), (b"w", huge)]))
    (tmp_path / "h.data-00000-of-00001").write_bytes(b"")
    with pytest.raises(BadData, match="numbers"):
        read_checkpoint(tmp_path / "h")


@pytest.mark.parametrize("sealed", [False, True], ids=["raw", "checksums put right"])
def test_mutations_end_in_one_line(tmp_path: Path, arrays: dict[str, NDArray[np.generic]], sealed: bool) -> None:
    rng = random.Random(5)
    entries = [(b"", b"\x08\x01\x1a\x02\x08\x01")]
    data = b""
    for name, array in sorted(arrays.items()):
        entries.append((name.encode(), entry(array, 0, len(data), array.tobytes())))
        data += array.tobytes()
    (tmp_path / "m.data-00000-of-00001").write_bytes(data)
    whole = table(entries)
    refused = 0
    for _ in range(150):
        if sealed:  # the damage lies behind right checksums, where the parser itself must hold
            i = rng.randrange(len(entries))
            key, value = entries[i]
            bad = bytearray(value)
            for _ in range(rng.randint(1, 4)):
                bad[rng.randrange(len(bad))] = rng.randrange(256)
            mutated = table([*entries[:i], (key, bytes(bad)), *entries[i + 1 :]])
        else:
            cut = bytearray(whole)
            for _ in range(rng.randint(1, 8)):
                cut[rng.choice((rng.randrange(len(cut)), len(cut) - 1 - rng.randrange(48)))] = rng.randrange(256)
            mutated = bytes(cut[: rng.choice((len(cut), rng.randrange(len(cut))))])
        (tmp_path / "m.index").write_bytes(mutated)
        refused += is_refused(lambda: read_checkpoint(tmp_path / "m"))
    assert refused > 75


def test_npz_reads_back_and_unpickles_nothing(tmp_path: Path) -> None:
    w = np.random.default_rng(0).normal(size=(3, 3, 3, 8))
    np.savez(tmp_path / "a.npz", **{"MobilenetV1/Conv2d_0/weights": w, "step": np.int64(3), "names": np.array(["x"])})
    found = read_npz(tmp_path / "a.npz")
    assert found.keys() == {"MobilenetV1/Conv2d_0/weights", "step"}
    assert np.array_equal(found["MobilenetV1/Conv2d_0/weights"], w.astype(np.float32))
    np.savez(tmp_path / "p.npz", w=np.array([{"a": 1}], object))
    with pytest.raises(BadData, match="pickled"):
        read_npz(tmp_path / "p.npz")


def test_npz_claims_are_checked(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", w=np.zeros(4, np.float32))
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        member = archive.read("w.npy")
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("w.npy", member.replace(b"(4,)", b"(9999999999,)").replace(b"         \n", b"\n", 1))
    with pytest.raises(BadData):
        read_npz(tmp_path / "b.npz")
    rng, whole = random.Random(2), (tmp_path / "a.npz").read_bytes()
    for _ in range(100):
        cut = bytearray(whole)
        for _ in range(rng.randint(1, 6)):
            cut[rng.randrange(len(cut))] = rng.randrange(256)
        (tmp_path / "c.npz").write_bytes(cut)
        is_refused(lambda: read_npz(tmp_path / "c.npz"))
