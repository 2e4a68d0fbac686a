"""Where the bytes of a model file come from: a folder, or a zip read in place. Nothing here trusts what it reads.

A folder that was being resealed when the power went holds `.pending`: see writing.py. If `.pending/manifest.json` is
there the new state was committed, and every file is looked for in `.pending` first; reading needs no repair.
"""

import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..errors import BadModelFile
from .manifest import HIDDEN, MANIFEST, MAX_FILES, check_inside, check_name

PENDING = ".pending"
MAX_MANIFEST_BYTES = 4_000_000
MAX_BYTES = 8_000_000_000
"""All files of one model file together; a V4 Hybrid-Large in float32 with five exports is 0.9 GB."""
MAX_EXPANSION = 200
"""How many times its packed size a zip's file may unpack to, above 16 MB; weights and pictures reach 1.1, text 20."""
_SMALL = 16_000_000
_CHUNK = 1 << 20
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, OSError)


class Source(Protocol):
    """The files of one model file, by name. `path` is what the user named."""

    @property
    def path(self) -> Path: ...

    def names(self) -> frozenset[str]:
        """Every file there is, manifest.json and hidden names left out."""
        ...

    def chunks(self, name: str) -> Iterator[bytes]:
        """The bytes of a file, a piece at a time. Raises BadModelFile where it is missing or damaged."""
        ...


@dataclass(frozen=True, slots=True)
class FolderSource:
    """A model file as a folder."""

    path: Path

    def names(self) -> frozenset[str]:
        """Every file, those of a committed `.pending` included. Raises BadModelFile for a link or a device."""
        found = set(_walk(self.path))
        if self.committed:
            found |= set(_walk(self.path / PENDING))
        return frozenset(found - {MANIFEST})

    @property
    def committed(self) -> bool:
        """Whether a reseal was committed whose files were not yet moved into place."""
        return (self.path / PENDING / MANIFEST).is_file()

    def place(self, name: str) -> Path:
        """Where a file lies now."""
        pending = self.path / PENDING / name
        return pending if self.committed and pending.is_file() else self.path / name

    def chunks(self, name: str) -> Iterator[bytes]:
        place = self.place(name)
        _refuse_links(self.path, place)
        try:
            with place.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    yield chunk
        except FileNotFoundError as error:
            raise BadModelFile(f"{self.path}: {name} is missing") from error
        except OSError as error:
            raise BadModelFile(f"{self.path}: {name}: can't be read: {error.strerror or error}") from error


@dataclass(frozen=True, slots=True)
class ZipSource:
    """A model file as a zip, read where it lies. `prefix` is the one folder around its files, or empty."""

    path: Path
    prefix: str
    members: dict[str, zipfile.ZipInfo]

    def names(self) -> frozenset[str]:
        return frozenset(self.members.keys() - {MANIFEST})

    def chunks(self, name: str) -> Iterator[bytes]:
        if name not in self.members:
            raise BadModelFile(f"{self.path}: {name} is missing")
        info, total = self.members[name], 0
        with _readable(self.path) as archive, archive.open(info) as file:
            while chunk := file.read(_CHUNK):
                if (total := total + len(chunk)) > info.file_size:
                    raise BadModelFile(f"{self.path}: {name} unpacks to more than the zip says")
                yield chunk


def open_source(path: Path) -> Source:
    """The folder or the zip at `path`. Raises BadModelFile where there is neither."""
    if path.is_dir():
        if not (path / MANIFEST).is_file():
            raise BadModelFile(f"{path}: no model file: it has no {MANIFEST}")
        return FolderSource(path)
    if not path.exists():
        raise BadModelFile(f"{path}: no such model file")
    if not zipfile.is_zipfile(path):
        raise BadModelFile(f"{path}: no model file: neither a folder with {MANIFEST} nor a zip of one")
    with _readable(path) as archive:
        members = _members(path, archive.infolist())
    roots = {"", *(name.split("/")[0] + "/" for name in members if "/" in name)}
    prefixes = [root for root in sorted(roots) if root + MANIFEST in members]
    if not prefixes:
        raise BadModelFile(f"{path}: no model file: it has no {MANIFEST}")
    prefix = prefixes[0]
    if outside := sorted(name for name in members if not name.startswith(prefix)):
        raise BadModelFile(f"{path}: holds {outside[0]!r} beside the model's folder {prefix!r}")
    return ZipSource(path, prefix, {name.removeprefix(prefix): info for name, info in members.items()})


def read_limited(source: Source, name: str, limit: int) -> bytes:
    """The whole file. Raises BadModelFile where it is longer than `limit` bytes."""
    data = bytearray()
    for chunk in source.chunks(name):
        data += chunk
        if len(data) > limit:
            raise BadModelFile(f"{source.path}: {name} is longer than the {limit} bytes it should have")
    return bytes(data)


def _walk(root: Path) -> Iterator[str]:
    """The names of all files under `root`; hidden names are passed over, anything but files and folders refused."""
    for folder, folders, files in os.walk(root):
        folders[:] = [f for f in folders if not f.startswith(HIDDEN)]
        for entry in (*folders, *files):
            mode = os.lstat(os.path.join(folder, entry)).st_mode
            if not entry.startswith(HIDDEN) and not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
                name = Path(folder, entry).relative_to(root).as_posix()
                raise BadModelFile(f"{root}: {name} is a link or a device, which may lead out of the model file")
        for file in files:
            if not file.startswith(HIDDEN):
                yield Path(folder, file).relative_to(root).as_posix()


def _refuse_links(root: Path, place: Path) -> None:
    """Raises BadModelFile where `place` or a folder on the way to it is a link."""
    step = root
    for part in place.relative_to(root).parts:
        step = step / part
        if step.is_symlink():
            raise BadModelFile(f"{root}: {place.relative_to(root).as_posix()} is a link, which may lead out of it")


@contextmanager
def _readable(path: Path) -> Iterator[zipfile.ZipFile]:
    """The open archive; whatever its reader throws becomes BadModelFile."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except _ZIP_ERRORS as error:
        raise BadModelFile(f"{path}: damaged zip: {error}") from error


def _members(path: Path, infos: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    """The files of a zip by name. Raises BadModelFile for a name that climbs out or stands twice, a link, a bomb."""
    if len(infos) > MAX_FILES:
        raise BadModelFile(f"{path}: holds {len(infos)} entries; at most {MAX_FILES} are allowed")
    members: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        name = info.orig_filename
        mode = info.external_attr >> 16
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise BadModelFile(f"{path}: {name!r} is a link or a device, which may lead out of the model file")
        check_inside(name, where=str(path))
        hidden = any(part.startswith(HIDDEN) for part in name.split("/"))
        if name.endswith("/") or name.startswith("__MACOSX/") or hidden:
            continue
        if name != MANIFEST:
            check_name(name, where=str(path))
        if name in members:
            raise BadModelFile(f"{path}: {name!r} stands twice in the zip")
        if info.flag_bits & 1:
            raise BadModelFile(f"{path}: {name!r} is encrypted")
        if info.file_size > max(_SMALL, info.compress_size * MAX_EXPANSION):
            raise BadModelFile(f"{path}: {name!r} unpacks to more than {MAX_EXPANSION} times its size")
        members[name] = info
    if sum(info.file_size for info in members.values()) > MAX_BYTES:
        raise BadModelFile(f"{path}: unpacks to more than {MAX_BYTES // 10**9} GB")
    return members
