"""What a pickle would build, read without building anything: the gate in front of `torch.load(weights_only=True)`.

The standard library's disassembler walks the opcodes. Refused is every class and function that a state dict does not
need, nesting so deep that hashing or freeing it would overflow the stack, and tuples of tuples without end. The
storages of the tensors are listed with their bytes: torch itself reads past a record shorter than its pickle says.
"""

import pickletools
import re
from dataclasses import dataclass, field
from typing import Protocol

from ...errors import BadData

MOST_OPCODES = 3_000_000
MOST_DEPTH = 200
MOST_SIZE = 10_000_000
MAGIC = 0x1950A86A20F9469CFC6C
"""The first number in files that torch.save wrote before 1.6."""

_ITEM_BYTES = {
    "Float": 4, "Double": 8, "Half": 2, "BFloat16": 2, "Long": 8, "Int": 4, "Short": 2, "Char": 1, "Byte": 1, "Bool": 1,
}  # fmt: skip
_STORAGE = re.compile(rf"torch\.(?:cuda\.)?({'|'.join(_ITEM_BYTES)})Storage")
_ALLOWED = re.compile(
    r"collections\.(OrderedDict|Counter)"
    r"|torch\.(Size|device|float16|float32|float64|bfloat16|u?int8|int16|int32|int64|bool)"
    r"|torch\._utils\._rebuild_(tensor|tensor_v2|parameter|parameter_with_state)"
    r"|torch\.nn\.parameter\.Parameter"
    r"|_codecs\.encode|argparse\.Namespace"
)
_FILLS = ("SETITEM", "SETITEMS", "APPEND", "APPENDS", "BUILD", "ADDITEMS")
_PUTS = ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE")
_GETS = ("GET", "BINGET", "LONG_BINGET")
_SAVE_ANEW = "where it was made, save only the weights: torch.save(model.state_dict(), path)"


class Stream(Protocol):
    """What the disassembler reads from: bytes in memory or a mapped file."""

    def read(self, n: int = ..., /) -> bytes: ...
    def readline(self) -> bytes: ...
    def tell(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Item:
    """A thing on the pickle's stack.

    depth, size: of the tree that it is when written out. value: a number, a text, a name, a tuple of these, else None.
    """

    depth: int = 0
    size: int = 1
    value: object = None


_MARK = Item()


@dataclass(slots=True)
class Contents:
    """What a pickle consists of. value: as in `Item`. storages: bytes that each storage of a tensor is said to have."""

    value: object = None
    storages: dict[str, int] = field(default_factory=dict)


def check_pickle(stream: Stream, where: str) -> Contents:
    """Read one pickle up to its end.

    Raises: BadData for one that is damaged, too deep, or names anything but tensors, dicts and their like.
    """
    try:
        return _walk(stream, where)
    except (ValueError, IndexError, KeyError, OverflowError) as error:
        raise BadData(f"{where}: damaged or cut short: its pickle can't be read ({error})") from error


def _walk(stream: Stream, where: str) -> Contents:
    stack: list[Item] = []
    memo: dict[object, Item] = {}
    found = Contents()
    for count, (opcode, arg, _) in enumerate(pickletools.genops(stream)):  # type: ignore[arg-type]  # a mapped file
        if count > MOST_OPCODES:
            raise BadData(f"{where}: its pickle has more than {MOST_OPCODES} steps; this is no checkpoint")
        name = opcode.name
        if name == "MARK":
            stack.append(_MARK)
        elif name in _PUTS:
            memo[len(memo) if name == "MEMOIZE" else arg] = stack[-1]
        elif name in _GETS:
            stack.append(memo[arg])
        elif name == "STOP":
            found.value = stack.pop().value
            return found
        else:
            taken = _taken(opcode, stack)
            made = _made(name, arg, taken, where)
            if made.depth > MOST_DEPTH or made.size > MOST_SIZE:
                raise BadData(f"{where}: its pickle nests {made.depth} deep, {made.size} things; this is no checkpoint")
            if name in ("PERSID", "BINPERSID"):
                key, size = _storage(taken[0].value if taken else arg)
                if found.storages.setdefault(key, size) != size:
                    raise ValueError(f"storage {key} has two sizes")
            stack += [made] * len(opcode.stack_after)
    raise ValueError("no end")


def _taken(opcode: pickletools.OpcodeInfo, stack: list[Item]) -> list[Item]:
    """Take what the opcode takes off the stack, the lowest first."""
    taken: list[Item] = []
    fixed = len(opcode.stack_before)
    if pickletools.markobject in opcode.stack_before:
        while (item := stack.pop()) is not _MARK:
            taken.append(item)
        fixed -= 1 + (pickletools.stackslice in opcode.stack_before)
    taken += [stack.pop() for _ in range(fixed)]
    return taken[::-1]


def _made(name: str, arg: object, taken: list[Item], where: str) -> Item:
    """What the opcode puts on the stack."""
    size = 1 + sum(item.size for item in taken)
    if name in _FILLS and taken:  # a container that takes more in: the items go one level down, it stays
        return Item(max(taken[0].depth, *(1 + item.depth for item in taken[1:]), 0), size)
    depth = max((item.depth for item in taken), default=-1) + 1
    value: object = None
    if name in ("GLOBAL", "INST", "STACK_GLOBAL"):
        parts = [item.value for item in taken] if name == "STACK_GLOBAL" else str(arg).split(" ")
        value = ".".join(part if isinstance(part, str) else "?" for part in parts)
        _check_name(value, where)
    elif name.startswith("TUPLE") or name == "EMPTY_TUPLE":
        value = tuple(item.value for item in taken)
    elif not taken and isinstance(arg, (int, str, bytes)):
        value = arg
    return Item(depth, size, value)


def _storage(told: object) -> tuple[str, int]:
    """(key, bytes) of the storage that a persistent id names: ("storage", type, key, device, numbers)."""
    match told:
        case ("storage", str(kind), str(key) | int(key), _, int(count), *_) if count >= 0:
            storage = _STORAGE.fullmatch(kind)
            if storage is not None:
                return str(key), count * _ITEM_BYTES[storage[1]]
    raise ValueError("a tensor without a storage")


def _check_name(name: str, where: str) -> None:
    if _ALLOWED.fullmatch(name) or _STORAGE.fullmatch(name):
        return
    shown = name[:80] if name.isprintable() else "?"
    if "_rebuild_qtensor" in name:
        raise BadData(f"{where}: holds quantised tensors ({shown}), which are not read; take the float checkpoint")
    if name.startswith("numpy"):
        raise BadData(f"{where}: holds numpy objects ({shown}) beside tensors, so it was not opened; {_SAVE_ANEW}")
    raise BadData(f"{where}: holds code or objects ({shown}), so it was not opened; {_SAVE_ANEW}")
