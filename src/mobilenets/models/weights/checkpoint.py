"""Checkpoint files opened as plain arrays: .safetensors without torch, pickled files as tensors only or not at all.

A pickled file is looked through first (pickles.py) and then loaded with `torch.load(weights_only=True)` on the CPU.
Nothing in a file is ever executed, and none makes more memory than its own size calls for.
"""

import argparse
import json
import mmap
import pickle
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...errors import BadData, MissingRuntime, UsageError
from ...files import replacing, write_atomic
from .graph import Array
from .pickles import MAGIC, check_pickle

if TYPE_CHECKING:
    from torch import Tensor

SUFFIXES = (".pth", ".pt", ".tar", ".bin", ".ckpt", ".safetensors")
MOST_BYTES = 2_000_000_000
MOST_HEADER_BYTES = 16_000_000
COUNTER = "num_batches_tracked"

PLAIN = (
    "state_dict", "model_state_dict", "model_state", "model", "net", "network", "params", "weights", "module",
    "backbone", "encoder", "generator",
)  # fmt: skip
"""Keys under which training scripts keep the weights, the usual ones first."""
AVERAGED = ("state_dict_ema", "model_ema", "ema_state_dict", "ema", "params_ema", "ema_model")
"""Keys of averaged weights: taken where there are no others."""

_DAMAGE = (
    pickle.UnpicklingError, RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError, AssertionError,
    ArithmeticError, MemoryError, zipfile.BadZipFile, zlib.error, tarfile.TarError,
)  # fmt: skip
"""What torch and zipfile raise for damaged files (measured by mutating files)."""
_FLOATS = {"F64": np.float64, "F32": np.float32, "F16": np.float16}


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """What a file holds. arrays: float32, by the file's own names, in its order.

    metadata: its scalar facts (epoch, arch, best_acc1), as text. left_out: what is no float tensor of the state dict.
    """

    arrays: dict[str, Array]
    metadata: dict[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


def open_checkpoint(path: Path) -> Checkpoint:
    """The state dict in `path`, whatever the device it was saved on.

    Raises: BadData for a file that is none, is damaged, or holds more than tensors; MissingRuntime where a pickled
    file needs torch.
    """
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise BadData(f"{path}: {size} bytes are more than the {MOST_BYTES} that a checkpoint may have")
        with path.open("rb") as file:
            start = file.read(265)
        if path.suffix == ".safetensors" or (start[8:9] == b"{" and not start.startswith(b"PK")):
            return _open_safetensors(path, size)
        if start.startswith(b"PK\x03\x04"):
            storages = _check_archive(path, size)
        else:
            storages = _check_legacy(path, start, size)
    except OSError as error:
        raise BadData(f"{path}: can't be read: {error.strerror or error}") from error
    return _open_pickled(path, frozenset(storages.values()))


def write_checkpoint(path: Path, arrays: Mapping[str, NDArray[np.generic]]) -> None:
    """Write a state dict whole: .safetensors, or .pth and .pt through torch.save.

    Raises: UsageError for another suffix or a folder that can't be written; MissingRuntime without torch for .pth.
    """
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    contiguous = {name: array.reshape(arrays[name].shape) for name, array in contiguous.items()}
    match path.suffix:
        case ".safetensors":
            from safetensors.numpy import save

            write_atomic(path, save(contiguous, metadata={"format": "pt"}))
        case ".pth" | ".pt":
            from collections import OrderedDict

            torch = _torch()
            state = OrderedDict((name, torch.from_numpy(array)) for name, array in contiguous.items())
            # torchvision's MnasNet refuses a state dict that does not say its version.
            state._metadata = OrderedDict({"": {"version": 2}})  # type: ignore[attr-defined]  # as torch's own do
            with replacing(path) as temporary:
                torch.save(state, temporary)
        case _:
            raise UsageError(f"{path}: weights are written as .safetensors, .pth or .pt")


# --- safetensors ---------------------------------------------------------------------------------------------------


def _open_safetensors(path: Path, size: int) -> Checkpoint:
    from safetensors import SafetensorError, deserialize

    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(size - 8, MOST_HEADER_BYTES):
            raise BadData(f"{path}: no safetensors: its header would have {length} of the file's {size} bytes")
        header = file.read(length)
        file.seek(0)
        data = file.read()
    try:
        tensors: list[tuple[str, dict[str, Any]]] = deserialize(data)  # type: ignore[no-untyped-call]  # Rust
        about = json.loads(header).get("__metadata__") or {}
    except (SafetensorError, ValueError, RecursionError) as error:
        raise BadData(f"{path}: damaged safetensors: {error}") from error
    arrays: dict[str, Array] = {}
    left_out: list[str] = []
    for name, tensor in tensors:
        dtype, raw, shape = tensor["dtype"], tensor["data"], tensor["shape"]
        if dtype == "BF16":
            wide = np.frombuffer(raw, np.uint16).astype(np.uint32) << 16
            arrays[name] = wide.view(np.float32).reshape(shape)
        elif dtype in _FLOATS:
            arrays[name] = np.frombuffer(raw, _FLOATS[dtype]).astype(np.float32).reshape(shape)
        elif not name.endswith(COUNTER):
            left_out.append(name)
    if not arrays:
        raise BadData(f"{path}: holds no float tensor")
    metadata = {str(key): str(value)[:1000] for key, value in about.items() if isinstance(value, str)}
    return Checkpoint(arrays, metadata, tuple(left_out))


# --- pickled files -------------------------------------------------------------------------------------------------


def _check_archive(path: Path, size: int) -> dict[str, int]:
    """Look through a zip file that torch.save wrote. Returns the bytes of each storage, which its records have."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            names = [entry.filename for entry in entries]
            parts = {part for name in names for part in name.split("/")[1:2]}
            if parts & {"constants.pkl", "code", "model.json"}:
                raise BadData(
                    f"{path}: a TorchScript archive, which holds code, so it was not opened; "
                    "where it was made, save only the weights: torch.save(module.state_dict(), path)"
                )
            pickles = [entry for entry in entries if entry.filename.endswith("data.pkl")]
            if len(pickles) != 1 or len(set(names)) != len(names):
                raise BadData(f"{path}: a zip file, but none that torch.save wrote (it holds {names[:1]}, ...)")
            unpacked = sum(entry.file_size for entry in entries)
            # torch.save compresses nothing; somebody who zipped it again gains little on weights.
            if unpacked > 2 * size + 1_000_000:
                raise BadData(f"{path}: {size} bytes that would unpack to {unpacked}: this is no checkpoint")
            storages = check_pickle(BytesIO(archive.read(pickles[0])), str(path)).storages
    except _DAMAGE as error:
        raise _damaged(path, error) from error
    folder = pickles[0].filename.removesuffix("data.pkl")
    records = {entry.filename: entry.file_size for entry in entries}
    for key, told in storages.items():
        if (held := records.get(f"{folder}data/{key}")) != told:
            raise BadData(f"{path}: damaged: storage {key} has {held or 'no'} bytes where its pickle says {told}")
    return storages


def _check_legacy(path: Path, start: bytes, size: int) -> dict[str, int]:
    """Look through the five pickles that torch.save wrote before 1.6. Returns the bytes of each storage."""
    if start[257:262] == b"ustar":
        raise BadData(f"{path}: a tar archive as PyTorch wrote before 0.1.10; open it in an old PyTorch and save anew")
    if not start or start[:1] not in b"\x80c(]}":  # a pickle of protocol 2 on; of 0 and 1, which is refused below
        raise BadData(f"{path}: no PyTorch checkpoint and no safetensors (it starts with {start[:8]!r})")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as stream:
        if check_pickle(stream, str(path)).value != MAGIC:
            raise BadData(f"{path}: a pickle, but none that torch.save wrote; save its tensors with torch.save")
        storages: dict[str, int] = {}
        for _ in range(4):
            storages |= check_pickle(stream, str(path)).storages
    if sum(storages.values()) > size:
        raise BadData(
            f"{path}: damaged or cut short: {size} bytes, of which tensors would have {sum(storages.values())}"
        )
    return storages


def _open_pickled(path: Path, sizes: frozenset[int]) -> Checkpoint:
    """Load a file that was looked through. sizes: how many bytes its storages may have."""
    torch = _torch()
    try:
        # timm's training script keeps its options beside the weights: a namespace of plain values.
        with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
            warnings.simplefilter("ignore")
            found: object = torch.load(path, map_location="cpu", weights_only=True)
    except _DAMAGE as error:
        raise _damaged(path, error) from error
    except OSError as error:
        raise BadData(f"{path}: can't be read: {error.strerror or error}") from error
    metadata: dict[str, str] = {}
    state = _state_dict(found, str(path), metadata)
    arrays: dict[str, Array] = {}
    left_out: list[str] = []
    for name, value in state.items():
        if not isinstance(value, torch.Tensor) or not value.is_floating_point():
            left_out += [] if name.endswith(COUNTER) else [name]
            continue
        held = value.untyped_storage().nbytes()
        # torch lets a storage grow to the shape that a pickle asks for, and a view repeat one number for ever.
        if held not in sizes or value.numel() * value.element_size() > held:
            raise BadData(f"{path}: damaged: {name} would have shape {tuple(value.shape)}, more than the file holds")
        arrays[name] = _array(value)
    if not arrays:
        raise BadData(f"{path}: holds no float tensor")
    return Checkpoint(arrays, metadata, tuple(left_out))


def _array(tensor: "Tensor") -> Array:
    array: Array = tensor.detach().float().contiguous().numpy()
    return array


def _state_dict(found: object, where: str, metadata: dict[str, str], depth: int = 0) -> dict[str, object]:
    """The innermost dict of tensors, and the scalars on the way to it. Plain weights go before averaged ones."""
    if not isinstance(found, dict) or depth > 4:
        raise BadData(f"{where}: holds a {type(found).__name__}, not a state dict")
    named = {key: value for key, value in found.items() if isinstance(key, str)}
    if sum(_is_weight(value) for value in named.values()) >= 3:
        return named
    for key, value in named.items():
        if (text := _scalar(value)) is not None and key.isprintable():
            metadata.setdefault(key[:100], text)
    inner = [key for key, value in named.items() if _holds_weights(value)]
    keys = [key for key in (*PLAIN, *AVERAGED) if key in inner] or inner
    if not keys or (len(keys) > 1 and keys == inner and keys[0] not in (*PLAIN, *AVERAGED)):
        raise BadData(f"{where}: no state dict under any of its keys ({', '.join(map(repr, [*found][:6]))})")
    aside = [key for key in AVERAGED if key in inner and key != keys[0]]
    metadata["weights_from"] = keys[0] + (f" ({', '.join(aside)} left aside)" if aside else "")
    return _state_dict(named[keys[0]], where, metadata, depth + 1)


def _holds_weights(value: object, depth: int = 0) -> bool:
    if not isinstance(value, dict) or depth > 3:
        return False
    if sum(_is_weight(item) for key, item in value.items() if isinstance(key, str)) >= 3:
        return True
    return any(_holds_weights(value.get(key), depth + 1) for key in (*PLAIN, *AVERAGED))


def _is_weight(value: object) -> bool:
    import torch

    return isinstance(value, torch.Tensor) and value.is_floating_point() and value.dim() > 0


def _scalar(value: object) -> str | None:
    import torch

    if isinstance(value, torch.Tensor) and value.dim() == 0 and value.untyped_storage().nbytes() and value.is_cpu:
        value = value.item()
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)[:200] if isinstance(value, (str, int)) else None


def _torch() -> ModuleType:
    try:
        import torch
    except ImportError as error:
        raise MissingRuntime.extra("torch, which pickled checkpoints need,", "train") from error
    return torch


def _damaged(path: Path, error: BaseException) -> BadData:
    if isinstance(error, pickle.UnpicklingError):
        return BadData(f"{path}: damaged, or no state dict: torch.load(weights_only=True) can't read its pickle")
    text = " ".join(str(error).split())
    return BadData(f"{path}: damaged or cut short: {type(error).__name__}: {text[:160]}")
