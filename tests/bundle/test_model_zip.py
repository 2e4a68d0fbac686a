"""The same model file zipped: the same seal, the same checks, and no trick of a hostile archive."""

import contextlib
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mobilenets.bundle import ModelFile, add_files, copy_model
from mobilenets.errors import BadModelFile, UsageError

Make = Callable[[Path], ModelFile]


def entries(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path: Path, contents: list[tuple[str | zipfile.ZipInfo, bytes]], how: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, data in contents:
            archive.writestr(name, data)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(BadModelFile) as caught:
        ModelFile.open(path)
    assert "\n" not in caught.value.message
    return caught.value.message


def test_a_zip_is_the_same_model_file(make: Make, tmp_path: Path) -> None:
    folder = make(tmp_path / "model")
    zipped = copy_model(folder, tmp_path / "model.zip")
    assert zipped.seal == folder.seal
    assert zipped.record == folder.record
    assert not zipped.is_folder
    assert {name: zipped.read(name) for name in zipped.names} == {name: folder.read(name) for name in folder.names}
    assert np.array_equal(zipped.golden().inputs, folder.golden().inputs)
    back = copy_model(zipped, tmp_path / "back")
    assert back.seal == folder.seal
    assert back.is_folder


def test_zips_are_written_to_the_same_bytes(make: Make, tmp_path: Path) -> None:
    make(tmp_path / "a.zip")
    copy_model(make(tmp_path / "model"), tmp_path / "b.zip")
    copy_model(make(tmp_path / "c.zip"), tmp_path / "d.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "d.zip").read_bytes()
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_a_zip_made_by_hand_opens(make: Make, tmp_path: Path) -> None:
    make(tmp_path / "model")
    files = [p for p in sorted((tmp_path / "model").rglob("*")) if p.is_file()]
    inside = [(f"my model/{p.relative_to(tmp_path / 'model').as_posix()}", p.read_bytes()) for p in files]
    plain = write(tmp_path / "hand.zip", [*inside, ("__MACOSX/my model/._README.md", b"x")])
    assert ModelFile.open(plain).record.name == "pets"
    beside = write(tmp_path / "beside.zip", [*inside, ("other.txt", b"x")])
    assert "'other.txt' beside the model's folder" in refusal(beside)


def test_a_changed_byte_in_a_zip_is_refused(make: Make, tmp_path: Path) -> None:
    make(tmp_path / "model.zip")
    parts = entries(tmp_path / "model.zip")
    for name in parts:
        changed = bytearray(parts[name])
        changed[-2] ^= 1
        bad = write(tmp_path / "bad.zip", [(n, bytes(changed) if n == name else d) for n, d in parts.items()])
        refusal(bad)
        missing = write(tmp_path / "missing.zip", [(n, d) for n, d in parts.items() if n != name])
        assert name in refusal(missing)
    extra = write(tmp_path / "extra.zip", [*parts.items(), ("extra.bin", b"x")])
    assert "extra.bin is not in its manifest" in refusal(extra)


def test_damage_to_the_archive_is_one_line(make: Make, tmp_path: Path) -> None:
    make(tmp_path / "model.zip")
    raw = (tmp_path / "model.zip").read_bytes()
    bad = tmp_path / "bad.zip"
    for cut in (10, len(raw) // 2, len(raw) - 30):
        bad.write_bytes(raw[:cut])
        refusal(bad)
    for place in range(0, len(raw), max(1, len(raw) // 100)):
        bad.write_bytes(raw[:place] + bytes([raw[place] ^ 0x55]) + raw[place + 1 :])
        with contextlib.suppress(BadModelFile):  # no other error; and no error only where a byte says nothing: a time
            assert ModelFile.open(bad).record.name == "pets"


@pytest.mark.parametrize("name", ["../out", "/out", "a/../../out", "..\\out", "C:\\out", "../manifest.json"])
def test_a_zip_that_climbs_out_is_refused(make: Make, tmp_path: Path, name: str) -> None:
    make(tmp_path / "model.zip")
    bad = write(tmp_path / "bad.zip", [*entries(tmp_path / "model.zip").items(), (name, b"x")])
    assert "leads out of the model file" in refusal(bad)


def test_a_link_in_a_zip_is_refused(make: Make, tmp_path: Path) -> None:
    make(tmp_path / "model.zip")
    link = zipfile.ZipInfo("link")
    link.create_system = 3
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    bad = write(tmp_path / "bad.zip", [*entries(tmp_path / "model.zip").items(), (link, b"/etc/passwd")])
    assert "link" in refusal(bad)


@pytest.mark.filterwarnings("ignore:Duplicate name")  # zipfile says so while we build the hostile archive
def test_a_name_that_stands_twice_is_refused(make: Make, tmp_path: Path) -> None:
    make(tmp_path / "model.zip")
    parts = list(entries(tmp_path / "model.zip").items())
    assert "stands twice" in refusal(write(tmp_path / "bad.zip", [*parts, ("model.json", b"{}")]))


def test_a_bomb_is_refused_before_it_unpacks(make: Make, tmp_path: Path) -> None:
    make(tmp_path / "model.zip")
    parts = entries(tmp_path / "model.zip") | {"zeros.bin": bytes(40_000_000)}
    bad = write(tmp_path / "bad.zip", list(parts.items()))
    assert bad.stat().st_size < 1_000_000
    assert "unpacks to more than 200 times its size" in refusal(bad)


def test_an_encrypted_zip_is_refused(make: Make, tmp_path: Path) -> None:
    make(tmp_path / "model.zip")
    raw = bytearray((tmp_path / "model.zip").read_bytes())
    central = raw.rindex(b"PK\x01\x02")
    raw[central + 8] |= 1
    (tmp_path / "bad.zip").write_bytes(raw)
    assert "encrypted" in refusal(tmp_path / "bad.zip")


def test_files_can_be_added_to_a_zip(make: Make, tmp_path: Path) -> None:
    model = make(tmp_path / "model.zip")
    added = add_files(model, {"notes.txt": "hello", "report.html": "new"}, remove=["golden/03.png"])
    assert added.read("notes.txt") == b"hello"
    assert added.read("report.html") == b"new"
    assert "golden/03.png" not in added.names
    with pytest.raises(UsageError, match="can't be removed"):
        add_files(added, {}, remove=["weights.safetensors"])


def test_a_runtime_gets_a_path_with_what_lies_beside(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOBILENETS_CACHE", str(tmp_path / "cache"))
    model = add_files(make(tmp_path / "model.zip"), {"openvino/m.xml": "<x/>", "openvino/m.bin": b"123"})
    path = model.local("openvino/m.xml")
    assert path.read_text() == "<x/>"
    assert (path.parent / "m.bin").read_bytes() == b"123"
    (path.parent / "m.bin").write_bytes(b"bad")
    model.local("openvino/m.xml")
    assert (path.parent / "m.bin").read_bytes() == b"123"
