"""CSV data sets: columns, splits, groups, and mistakes named by file, line and key."""

from pathlib import Path

import pytest
from making import encoded, scene

from mobilenets.data import open_dataset
from mobilenets.errors import BadData


def table(folder: Path, text: str, *, pictures: int = 6) -> Path:
    for index in range(pictures):
        (folder / f"{index}.png").write_bytes(encoded(scene(8, 8, seed=index)))
    path = folder / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_column(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        "path,label,index,split,group,name\n"
        "0.png,n02,7,train,a,the cat\n1.png,n01,3,Validation,,a dog\n"
        "2.png,n02,7,test,b,the cat\n3.png,n01,3,train,a,a dog\n",
    )
    dataset = open_dataset(path)
    assert dataset.labels.ids == ("n01", "n02")
    assert dataset.labels.names == ("a dog", "the cat")
    assert [s.file.name for s in dataset.train] == ["0.png", "3.png"]
    assert [(s.file.name, s.target) for s in dataset.val] == [("1.png", 0)]
    assert dataset.train[0].group == "a"
    assert (dataset.split_origin, dataset.name, dataset.root) == ("csv column", "labels", tmp_path)


def test_names_are_few_words_for_many_labels(tmp_path: Path) -> None:
    path = table(tmp_path, "path,label,name\n0.png,n1,crane\n1.png,n2,crane\n2.png,n3,\n")
    assert open_dataset(path).labels.names == ("crane", "crane", "n3")
    assert open_dataset(table(tmp_path, "path,label\n0.png,1\n1.png,2\n")).labels.names == ()


def test_quotes_byte_order_marks_blank_lines_and_folders(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "100%,'q'.png").write_bytes(encoded(scene(8, 8)))
    path = table(tmp_path, "\ufeffPath, Label\r\n\"in/100%,'q'.png\",a\r\n\r\n 1.png , b \r\n./2.png,a\r\n")
    dataset = open_dataset(path)
    assert {dataset.relative(s.file) for s in dataset.samples} == {"in/100%,'q'.png", "1.png", "2.png"}
    absolute = tmp_path / "1.png"
    (tmp_path / "deeper").mkdir()
    climbing = tmp_path / "deeper" / "l.csv"
    climbing.write_text(f"path,label\n../0.png,a\n{absolute},b\n")
    assert len(open_dataset(climbing).samples) == 2


def test_without_a_split_column_groups_stay_whole(tmp_path: Path) -> None:
    rows = "".join(f"{i}.png,{'ab'[i % 2]},g{i // 4}\n" for i in range(80))
    dataset = open_dataset(table(tmp_path, "path,label,group\n" + rows, pictures=80))
    assert dataset.split_origin == "seeded 80/10/10, seed 0"
    place = {}
    for split in ("train", "val", "test"):
        for sample in dataset.split(split):
            assert place.setdefault(sample.group, split) == split
    assert 56 <= len(dataset.train) <= 72
    assert dataset.val
    assert dataset.test


def test_files_that_are_not_there_are_listed(tmp_path: Path) -> None:
    path = table(tmp_path, "path,label\n0.png,a\nnone.png,b\n1.png,b\n")
    dataset = open_dataset(path)
    assert [(u.file, u.kind) for u in dataset.unreadable] == [("none.png", "missing")]
    assert len(dataset.samples) == 2
    with pytest.raises(BadData, match=r"labels.csv: line 2: path: none of the 2 files is there, the first 'x'"):
        open_dataset(table(tmp_path, "path,label\nx,a\ny,b\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"line 1: the header has no column 'path', only nothing"),
        ("file,label\n0.png,a\n", r"line 1: the header has no column 'path', only file, label"),
        ("path;label\n0.png;a\n", r"line 1: the header has no column 'path'"),
        ("path,class\n0.png,a\n", r"line 1: the header has no column 'label'"),
        ("path,label,label\n0.png,a,b\n", r"line 1: the column 'label' occurs twice"),
        ("path,label\n", r"a header and no rows"),
        ("path,label\n0.png,a\n1.png\n", r"line 3: 1 cells for 2 columns"),
        ("path,label\n0.png,a\na,b.png,c\n", r"line 3: 3 cells for 2 columns"),
        ("path,label\n0.png,a\n,b\n", r"line 3: path: empty"),
        ("path,label\n0.png,a\n1.png,\n", r"line 3: label: empty"),
        ("path,label,split\n0.png,a,train\n1.png,b,dev\n", r"line 3: split: must be train, val or test, not 'dev'"),
        ("path,label,split\n0.png,a,train\n1.png,b,\n", r"line 3: split: must be train, val or test, not ''"),
        ("path,label\n0.png,a\n1.png,b\n0.png,b\n", r"line 4: path: '0.png' stands in line 2 already"),
        ("path,label\n0.png,a\n1.png,a\n", r"only one label \(a\)"),
        (
            "path,label,name\n0.png,a,x\n1.png,b,y\n2.png,a,z\n",
            r"line 4: name: label 'a' is 'z' here and 'x' in line 2",
        ),
        (
            "path,label,split,group\n0.png,a,train,g\n1.png,b,train,\n2.png,b,test,g\n",
            r"line 4: group: 'g' is in test here and in train in line 2",
        ),
        ('path,label\n0.png,"a\n', r"line \d: not CSV"),
    ],
)
def test_mistakes_are_named_by_file_line_and_key(tmp_path: Path, text: str, message: str) -> None:
    path = table(tmp_path, text)
    with pytest.raises(BadData, match=rf"labels.csv: {message}") as caught:
        open_dataset(path)
    assert "\n" not in caught.value.message


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(b"path,label\ncaf\xe9.jpg,a\n")
    with pytest.raises(BadData, match="not UTF-8"):
        open_dataset(path)


def test_whole_number_labels_are_ordered_by_value(tmp_path: Path) -> None:
    assert open_dataset(table(tmp_path, "path,label\n0.png,10\n1.png,9\n2.png,1\n")).labels.ids == ("1", "9", "10")


def test_imagenet200(shared: Path) -> None:
    dataset = open_dataset(shared / "data" / "imagenet200" / "labels.csv")
    assert len(dataset.labels) == len(dataset.samples) == len(dataset.train) == 200
    assert dataset.labels.ids[0] == "n01440764"
    assert dataset.labels.name(0) == "tench"
    assert dataset.unreadable == ()
