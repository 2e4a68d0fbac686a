"""Model files written: created whole, and resealed in one atomic step when an export or a report is added.

A folder is resealed so: the new and changed files and the new manifest are written to a hidden folder beside the old
ones; that folder is renamed to `.pending`, which is the one moment that counts (before it the old state holds, after
it the new one); then the files are moved into place, the manifest last. A crash on the way leaves a `.pending` that
readers look into first (source.py) and that the next write finishes.
"""

import os
import shutil
import tempfile
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import BadModelFile, UsageError
from ..files import replacing, replacing_folder, sync
from .card import model_card
from .check_script import CHECK_SCRIPT
from .golden import Golden, golden_files
from .manifest import (
    CARD,
    CHECK,
    MANIFEST,
    MODEL,
    REPORT,
    REQUIRED,
    WEIGHTS,
    Manifest,
    check_name,
    manifest_to_json,
    seal,
    sealed,
)
from .model_file import ModelFile, manifest_at
from .record import ModelRecord, record_to_json
from .source import PENDING, FolderSource

Content = bytes | str | Path
"""The bytes of a file, its text, or the path of a file to copy."""
_ZIP = ".zip"


def create_model_file(
    path: Path,
    record: ModelRecord,
    *,
    weights: Mapping[str, NDArray[np.generic]],
    golden: Golden,
    files: Mapping[str, Content] | None = None,
    report: str | None = None,
    overwrite: bool = False,
) -> ModelFile:
    """Write a new model file: a folder, or a zip where `path` ends in .zip. It appears whole or not at all.

    files: what else goes in, by name: the exported files that `record` names. report: report.html.
    Raises: UsageError where something is at `path` already (with `overwrite`: something that is no model file).
    """
    _check_free(path, overwrite=overwrite)
    from safetensors.numpy import save

    contents = {name: _bytes_of(content) for name, content in (files or {}).items()}
    ordered = {name: np.ascontiguousarray(weights[name]) for name in sorted(weights)}
    contents |= {WEIGHTS: save(ordered), MODEL: record_to_json(record).encode(), CARD: model_card(record).encode()}
    contents |= {CHECK: CHECK_SCRIPT.encode(), **golden_files(golden)}
    if report is not None:
        contents[REPORT] = report.encode()
    _check_exports(record, contents.keys(), where=path)
    _write_whole(path, contents)
    return ModelFile.open(path)


def add_files(
    model: ModelFile,
    files: Mapping[str, Content],
    *,
    record: ModelRecord | None = None,
    remove: Collection[str] = (),
) -> ModelFile:
    """Put files into a model file, or in the place of older ones, and reseal it in one atomic step.

    record: the new model.json, where it changes too; the model card is written anew with it.
    remove: names of files that go.
    Raises: BadModelFile where the model file changed since it was opened; UsageError where its folder can't be written.
    """
    if ModelFile.open(model.path).seal != model.seal:
        raise BadModelFile(f"{model.path}: was changed by someone else since it was opened", hint="open it again")
    if lost := sorted({*REQUIRED, CARD} & set(remove)):
        raise UsageError(f"{model.path}: {lost[0]} can't be removed from a model file")
    changed = {name: _bytes_of(content) for name, content in files.items()}
    if record is not None:
        changed = {MODEL: record_to_json(record).encode(), CARD: model_card(record).encode()} | changed
    kept = {name: old for name, old in model.manifest.files.items() if name not in remove}
    _check_exports(model.record if record is None else record, kept.keys() | changed.keys(), where=model.path)
    if isinstance(model.source, FolderSource):
        _reseal(model.path, Manifest(kept | {name: sealed(data) for name, data in changed.items()}), changed)
    else:
        _write_whole(model.path, {name: model.read(name) for name in kept} | changed)
    return ModelFile.open(model.path)


def copy_model(model: ModelFile, path: Path, *, overwrite: bool = False) -> ModelFile:
    """The same model file at another place: as a zip where `path` ends in .zip, else as a folder.

    The seal stays the same. A zip of one model file has the same bytes wherever it is written.
    """
    _check_free(path, overwrite=overwrite)
    _write_whole(path, {name: model.read(name) for name in model.names})
    return ModelFile.open(path)


def _check_free(path: Path, *, overwrite: bool) -> None:
    """Raises UsageError where writing to `path` would destroy something."""
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not overwrite:
        raise UsageError(f"{path}: is there already", hint="name another place, or ask to overwrite it")
    if path.is_dir() and not (path / MANIFEST).is_file():
        raise UsageError(f"{path}: is no model file, so it is not overwritten")


def _check_exports(record: ModelRecord, names: Collection[str], *, where: Path) -> None:
    for name in names:
        check_name(name, where=str(where))
    if lost := [export.file for export in record.exports if export.file not in names]:
        raise UsageError(f"{where}: the record names {lost[0]}, which is not given")


def _bytes_of(content: Content) -> bytes:
    if isinstance(content, Path):
        return content.read_bytes()
    return content.encode() if isinstance(content, str) else content


def _write_whole(path: Path, contents: Mapping[str, bytes]) -> None:
    manifest = manifest_to_json(seal(contents)).encode()
    everything = {MANIFEST: manifest, **dict(sorted(contents.items()))}
    if path.suffix.lower() == _ZIP:
        with replacing(path) as temporary:
            _write_zip(temporary, everything)
    else:
        with replacing_folder(path) as temporary:
            _write_into(temporary, everything)


def _write_into(folder: Path, contents: Mapping[str, bytes]) -> None:
    for name, data in contents.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)


def _write_zip(path: Path, contents: Mapping[str, bytes]) -> None:
    """Stored, not packed (weights and pictures do not shrink), with fixed times: same contents, same bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in contents.items():
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.create_system = 3
            info.external_attr = 0o100644 << 16
            archive.writestr(info, data)


def _reseal(root: Path, manifest: Manifest, changed: Mapping[str, bytes]) -> None:
    """Bring the folder to the state that `manifest` lists, `changed` being what is new in it."""
    try:
        finish_pending(root)
        staged = Path(tempfile.mkdtemp(prefix=f"{PENDING}.", dir=root))
        try:
            _write_into(staged, {**changed, MANIFEST: manifest_to_json(manifest).encode()})
            for file in staged.rglob("*"):
                if file.is_file():
                    sync(file)
            os.replace(staged, root / PENDING)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
        finish_pending(root)
    except OSError as error:
        raise UsageError(f"{root}: can't be written: {error.strerror or error}") from error


def finish_pending(root: Path) -> None:
    """Move what a committed reseal left in `.pending` into place, the manifest last; do nothing where there is none."""
    source = FolderSource(root)
    pending = root / PENDING
    if source.committed:
        old, new = manifest_at(root / MANIFEST), manifest_at(pending / MANIFEST)
        for name in sorted(new.files.keys()):
            if (pending / name).is_file():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                os.replace(pending / name, root / name)
        for name in sorted(old.files.keys() - new.files.keys()):
            (root / name).unlink(missing_ok=True)
        os.replace(pending / MANIFEST, root / MANIFEST)
    if pending.is_dir():
        shutil.rmtree(pending)
