"""`open_dataset`: which source a name or a path means."""

import os
from pathlib import Path

from ...errors import BadData
from ..dataset import Dataset
from ..splitfile import read_split
from .digits import digits
from .folders import class_folders
from .table import csv_table


def open_dataset(data: str | os.PathLike[str], *, seed: int = 0) -> Dataset:
    """The labelled pictures that `data` names. No picture is decoded here: `check_data` does that.

    Args:
        data: "digits" (handwritten digits, brought along with scikit-learn); a folder of class folders, with or
            without split folders above them; a .csv file (`path,label[,split][,group][,name]`); or a .json file
            that `write_split` wrote. A folder of your own called digits is reached as ./digits.
        seed: of the split, where the data bring none. docs/data.md has the layouts.

    Raises: BadData, with the next step, for a path that is not there, a folder without pictures or classes, a CSV
    file with a mistake (file, line and key are named); MissingRuntime for "digits" without scikit-learn.
    """
    if data == "digits":
        return digits(seed=seed)
    path = Path(data)
    if path.is_dir():
        return class_folders(path, seed=seed)
    if path.is_file() and path.suffix.lower() == ".csv":
        return csv_table(path, seed=seed)
    if path.is_file() and path.suffix.lower() == ".json":
        return read_split(path)
    if path.exists():
        raise BadData(
            f"{path}: not a data set: neither a folder, nor a .csv, nor a .json split file",
            hint="a folder with one folder of pictures per class, or a CSV file with the columns path,label",
        )
    raise BadData(f"{path}: no such file or folder", hint="to try without data of your own: digits")
