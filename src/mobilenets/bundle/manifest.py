"""The seal: manifest.json lists every file of a model file with its SHA-256 and its length, and what names may be."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from ..codec import decode, to_json
from ..errors import BadData, BadModelFile
from .record import FORMAT, check_format, json_object

MANIFEST = "manifest.json"
MODEL = "model.json"
WEIGHTS = "weights.safetensors"
CARD = "README.md"
CHECK = "check.py"
REPORT = "report.html"
REQUIRED = (MODEL, WEIGHTS)
HIDDEN = "."
"""Names that begin so are no part of a model file: leftovers of a write, .DS_Store, .gitattributes."""
MAX_NAME = 200
MAX_FILES = 10_000
_ALLOWED = re.compile(r"[^\\:*?\"<>|\x00-\x1f\x7f]+")


@dataclass(frozen=True, slots=True)
class SealedFile:
    """One line of the manifest: SHA-256 as 64 hex digits, length in bytes."""

    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What manifest.json holds: every file of the model file but itself, by its name with forward slashes."""

    files: dict[str, SealedFile]
    format: int = FORMAT


def manifest_to_json(manifest: Manifest) -> str:
    ordered = Manifest(dict(sorted(manifest.files.items())), manifest.format)
    return to_json(ordered) + "\n"


def manifest_from_json(raw: bytes, *, where: str) -> Manifest:
    """The manifest, its names checked. Raises BadModelFile for a newer format, a name that climbs, a missing part."""
    data = json_object(raw, where=where)
    check_format(data, where=where)
    try:
        manifest = decode(Manifest, data, where=where)
    except BadData as error:
        raise BadModelFile(error.message) from error
    if len(manifest.files) > MAX_FILES:
        raise BadModelFile(f"{where}: lists {len(manifest.files)} files; at most {MAX_FILES} are allowed")
    seen: dict[str, str] = {}
    for name, sealed in manifest.files.items():
        check_name(name, where=where)
        if (other := seen.setdefault(name.casefold(), name)) != name:
            raise BadModelFile(f"{where}: {other!r} and {name!r} are one file where capitals do not count")
        if not re.fullmatch(r"[0-9a-f]{64}", sealed.sha256) or sealed.bytes < 0:
            raise BadModelFile(f"{where}: {name}: no valid SHA-256 and length")
    if missing := [name for name in REQUIRED if name not in manifest.files]:
        raise BadModelFile(f"{where}: does not list {missing[0]}")
    return manifest


def check_name(name: str, *, where: str) -> None:
    """Raises BadModelFile for a name that could leave the folder or mean another file on another system."""
    check_inside(name, where=where)
    parts = name.split("/")
    plain = bool(name) and len(name) <= MAX_NAME and _ALLOWED.fullmatch(name) is not None
    tidy = all(part and not part.startswith(HIDDEN) and part == part.strip(" ") for part in parts)
    if not plain or not tidy or name == MANIFEST or PurePosixPath(name).as_posix() != name:
        raise BadModelFile(f"{where}: {name!r} is no name for a file of a model")


def check_inside(name: str, *, where: str) -> None:
    """Raises BadModelFile for a name that could leave the folder, by the rules of any system."""
    if name.startswith("/") or ".." in name.split("/") or re.match(r"[A-Za-z]:", name) or "\\" in name:
        raise BadModelFile(f"{where}: {name!r} leads out of the model file")


def seal(contents: Mapping[str, bytes]) -> Manifest:
    """The manifest of `contents`."""
    return Manifest({name: sealed(data) for name, data in contents.items()})


def sealed(data: bytes) -> SealedFile:
    return SealedFile(hashlib.sha256(data).hexdigest(), len(data))
