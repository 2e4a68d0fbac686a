"""Frozen dataclasses to JSON and back, exactly: `from_json(cls, to_json(value)) == value`.

One codec for specs, records and configurations. A field typed as a union of dataclasses is tagged with the
class name under "type". A key that is unknown or missing is an error that names its place.
"""

import dataclasses
import json
import math
import types
from pathlib import PurePath
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from .errors import BadData

TAG = "type"

T = TypeVar("T")


def encode(value: object, declared: Any = None) -> Any:
    """`value` as plain dicts, lists, strings, numbers, booleans and None; NaN and infinities as strings."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        hints = get_type_hints(type(value))
        fields = {f.name: encode(getattr(value, f.name), hints[f.name]) for f in dataclasses.fields(value)}
        return {TAG: type(value).__name__, **fields} if len(_dataclasses_of(declared)) > 1 else fields
    if isinstance(value, dict):
        inner = get_args(declared)[1] if get_origin(declared) is dict else None
        return {str(key): encode(item, inner) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        inners = _item_types(declared, len(value))
        return [encode(item, inner) for item, inner in zip(value, inners, strict=True)]
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"no JSON form for {type(value).__name__}")


def decode(kind: type[T], data: object, *, where: str = "") -> T:
    """The value of type `kind` that `data`, as written by `encode`, holds. Raises BadData naming the place."""
    return cast(T, _decode(kind, data, where or kind.__name__))


def to_json(value: object, *, indent: int | None = 1) -> str:
    return json.dumps(encode(value), indent=indent, ensure_ascii=False)


def from_json(kind: type[T], text: str, *, where: str = "") -> T:
    """The value that `text` holds. Raises BadData for text that is not JSON or not a `kind`."""
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadData(f"{where or kind.__name__}: line {error.lineno}: not JSON: {error.msg}") from error
    except RecursionError as error:
        raise BadData(f"{where or kind.__name__}: nested too deeply") from error
    return decode(kind, data, where=where)


def shown(data: object) -> str:
    """`data` as an error message shows it: its repr, cut to 60 characters."""
    text = repr(data)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _is_union(kind: Any) -> bool:
    return get_origin(kind) in (Union, types.UnionType)


def _dataclasses_of(kind: Any) -> list[type]:
    members = get_args(kind) if _is_union(kind) else (kind,)
    return [m for m in members if isinstance(m, type) and dataclasses.is_dataclass(m)]


def _item_types(declared: Any, length: int) -> list[Any]:
    if _is_union(declared):
        declared = next((m for m in get_args(declared) if get_origin(m) in (tuple, list)), None)
    if get_origin(declared) not in (tuple, list):
        return [None] * length
    args = get_args(declared)
    if get_origin(declared) is list or (len(args) == 2 and args[1] is Ellipsis):
        return [args[0]] * length
    return list(args) if len(args) == length else [None] * length


def _decode(kind: Any, data: Any, where: str) -> Any:
    if kind is Any or kind is object:
        return data
    if _is_union(kind):
        return _decode_union(kind, data, where)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _decode_dataclass(kind, data, where)
    origin, args = get_origin(kind), get_args(kind)
    if origin is Literal:
        if data not in args:
            raise BadData(f"{where}: must be one of {', '.join(map(repr, args))}, not {shown(data)}")
        return data
    if origin in (tuple, list):
        if not isinstance(data, list):
            raise BadData(f"{where}: must be a list, not {shown(data)}")
        varying = origin is list or (len(args) == 2 and args[1] is Ellipsis)
        if not varying and len(args) != len(data):
            raise BadData(f"{where}: must have {len(args)} items, not {len(data)}")
        kinds = [args[0]] * len(data) if varying else list(args)
        items = [_decode(k, item, f"{where}[{i}]") for i, (k, item) in enumerate(zip(kinds, data, strict=True))]
        return items if origin is list else tuple(items)
    if origin is dict:
        if not isinstance(data, dict):
            raise BadData(f"{where}: must be an object, not {shown(data)}")
        return {key: _decode(args[1], item, f"{where}.{key}") for key, item in data.items()}
    return _decode_plain(kind, data, where)


def _decode_plain(kind: Any, data: Any, where: str) -> Any:
    if kind is type(None) and data is None:
        return None
    if kind is float and isinstance(data, (int, float)) and not isinstance(data, bool):
        return float(data)
    if kind is float and data in ("nan", "inf", "-inf"):
        return float(data)
    if isinstance(kind, type) and isinstance(data, kind) and isinstance(data, bool) == (kind is bool):
        return data
    raise BadData(f"{where}: must be {getattr(kind, '__name__', kind)}, not {shown(data)}")


def _decode_union(kind: Any, data: Any, where: str) -> Any:
    if isinstance(data, dict):
        classes = _dataclasses_of(kind)
        if len(classes) == 1:
            return _decode_dataclass(classes[0], data, where)
        if classes:
            names = {c.__name__: c for c in classes}
            tag = data.get(TAG)
            if not isinstance(tag, str) or tag not in names:
                raise BadData(f"{where}.{TAG}: must be one of {', '.join(names)}, not {shown(tag)}")
            return _decode_dataclass(names[tag], {k: v for k, v in data.items() if k != TAG}, where)
    errors = []
    for member in get_args(kind):
        try:
            return _decode(member, data, where)
        except BadData as error:
            errors.append(error)
    raise errors[0]


def _decode_dataclass(kind: type, data: Any, where: str) -> Any:
    if not isinstance(data, dict):
        raise BadData(f"{where}: must be an object, not {shown(data)}")
    hints = get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}
    if unknown := sorted(data.keys() - fields.keys()):
        raise BadData(f"{where}: unknown key {shown(unknown[0])}; known: {', '.join(fields)}")
    values = {name: _decode(hints[name], item, f"{where}.{name}") for name, item in data.items()}
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in values:
            raise BadData(f"{where}: key {name!r} is missing")
    return kind(**values)
