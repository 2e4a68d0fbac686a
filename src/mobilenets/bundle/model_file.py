"""A model file, opened: everything it lists is there, nothing else is, and every byte is the one that was sealed."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import BadModelFile, UsageError
from ..files import cache_dir, sha256, write_atomic
from .manifest import MANIFEST, MODEL, WEIGHTS, Manifest, manifest_from_json
from .record import ExportRecord, ModelRecord, record_from_json
from .source import MAX_BYTES, MAX_MANIFEST_BYTES, FolderSource, Source, open_source, read_limited

if TYPE_CHECKING:
    from .golden import Golden


@dataclass(frozen=True, slots=True)
class ModelFile:
    """An opened and checked model file. `seal` is the SHA-256 of its manifest: it names this state of this model."""

    source: Source
    manifest: Manifest
    record: ModelRecord
    seal: str

    @classmethod
    def open(cls, path: str | Path) -> "ModelFile":
        """Open the folder or the zip at `path`, hashing every file (a 20 MB model: about 20 ms).

        Raises: BadModelFile for a changed byte, a missing or an unlisted file, a newer format, a name or a link that
            leads out of the folder, a damaged zip or one that unpacks beyond measure.
        """
        source = open_source(Path(path))
        raw = read_limited(source, MANIFEST, MAX_MANIFEST_BYTES)
        manifest = manifest_from_json(raw, where=f"{path}: {MANIFEST}")
        _check_seal(source, manifest)
        text = read_limited(source, MODEL, manifest.files[MODEL].bytes)
        record = record_from_json(text, where=f"{path}: {MODEL}")
        if lost := [export.file for export in record.exports if export.file not in manifest.files]:
            raise BadModelFile(f"{path}: {MODEL} names {lost[0]}, which is not in the model file")
        return cls(source, manifest, record, hashlib.sha256(raw).hexdigest())

    @property
    def path(self) -> Path:
        """The folder or zip, as it was named."""
        return self.source.path

    @property
    def is_folder(self) -> bool:
        """False for a zip."""
        return isinstance(self.source, FolderSource)

    @property
    def names(self) -> tuple[str, ...]:
        """Every file in it but the manifest, sorted."""
        return tuple(sorted(self.manifest.files))

    def read(self, name: str) -> bytes:
        """The bytes of one file, hashed once more, so that what is used is what was sealed.

        Raises: BadModelFile where there is no such file or it changed since the model file was opened.
        """
        if name not in self.manifest.files:
            raise BadModelFile(f"{self.path}: has no {name}; it holds {', '.join(self.names)}")
        wanted = self.manifest.files[name]
        data = read_limited(self.source, name, wanted.bytes)
        if len(data) != wanted.bytes or hashlib.sha256(data).hexdigest() != wanted.sha256:
            raise BadModelFile(f"{self.path}: {name} changed since the model file was opened")
        return data

    def local(self, name: str) -> Path:
        """A path of one file, for runtimes that read from paths alone.

        In a folder the file itself; from a zip a copy in the cache, with the files beside it (an .xml's .bin).
        """
        if isinstance(self.source, FolderSource):
            self.read(name)
            return self.source.place(name)
        folder = cache_dir() / "opened" / self.seal[:32]
        parent = name.rpartition("/")[0]
        for sibling in self.names:
            if sibling.rpartition("/")[0] == parent:
                copy = folder / sibling
                if not copy.is_file() or sha256(copy) != self.manifest.files[sibling].sha256:
                    write_atomic(copy, self.read(sibling))
        return folder / name

    def weights(self) -> dict[str, NDArray[np.generic]]:
        """The trained weights by name. Raises BadModelFile where they are no safetensors that numpy can hold."""
        return load_arrays(self.read(WEIGHTS), where=f"{self.path}: {WEIGHTS}")

    @property
    def weights_sha256(self) -> str:
        """The hash of weights.safetensors, which every export carries, so that a stale one is known as such."""
        return self.manifest.files[WEIGHTS].sha256

    def golden(self) -> "Golden":
        """The golden vectors: encoded images, the tensors they become, what the trained network answers."""
        from .golden import read_golden

        return read_golden(self)

    def export(self, target: str, *, precision: str | None = None) -> ExportRecord:
        """The exported file for a target (its first one where no precision is asked for).

        Raises: UsageError naming the exports there are.
        """
        for export in self.record.exports:
            if export.target == target and precision in (None, export.precision):
                return export
        wanted = target if precision is None else f"{target} in {precision}"
        held = ", ".join(f"{e.target} in {e.precision}" for e in self.record.exports) or "none"
        raise UsageError(f"{self.path}: has no export for {wanted}; it holds {held}")


def load_arrays(raw: bytes, *, where: str) -> dict[str, NDArray[np.generic]]:
    """The arrays of a safetensors file. Raises BadModelFile where it is damaged or holds a type numpy lacks."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays: dict[str, NDArray[np.generic]] = load(raw)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise BadModelFile(f"{where}: no readable safetensors: {error}") from error
    return arrays


def _check_seal(source: Source, manifest: Manifest) -> None:
    """Raises BadModelFile for the first file that is unlisted, missing or other than it was sealed."""
    allowed = manifest.files.keys() | _leaving(source)
    if unlisted := sorted(source.names() - allowed):
        raise BadModelFile(
            f"{source.path}: {unlisted[0]} is not in its manifest",
            hint="a model file holds only what was sealed with it; move the file elsewhere",
        )
    total = sum(sealed.bytes for sealed in manifest.files.values())
    if total > MAX_BYTES:
        raise BadModelFile(f"{source.path}: {MANIFEST} lists more than {MAX_BYTES // 10**9} GB")
    for name, sealed in manifest.files.items():
        digest, length = hashlib.sha256(), 0
        for chunk in source.chunks(name):
            digest.update(chunk)
            length += len(chunk)
            if length > sealed.bytes:
                break
        if length != sealed.bytes or digest.hexdigest() != sealed.sha256:
            raise BadModelFile(
                f"{source.path}: {name} is not the file that was sealed (its bytes were changed)",
                hint="get the model file again from where it came",
            )


def _leaving(source: Source) -> frozenset[str]:
    """Files of the old state that a committed, unfinished reseal has yet to remove: listed once, so no surprise."""
    if not isinstance(source, FolderSource) or not source.committed:
        return frozenset()
    return frozenset(manifest_at(source.path / MANIFEST).files)


def manifest_at(path: Path) -> Manifest:
    """The manifest that lies at `path`, its names checked."""
    return manifest_from_json(path.read_bytes(), where=str(path))
