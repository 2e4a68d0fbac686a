"""The 1000 classes of ImageNet-1k (ILSVRC 2012) in the usual order: WordNet ids, which are unique, and names, which
are not ("crane" is a bird and a machine).

The table is imagenet_classes.csv. Its order is that of the sorted WordNet ids, which every framework's weights share;
the names are torchvision's list (BSD-3-Clause) as the PyTorch hub ships it, ids and names by WordNet 3.0 (Princeton's
licence, free for any use with attribution).
"""

import csv
from functools import cache
from pathlib import Path
from typing import Literal

from ..records import Labels

FILE = Path(__file__).with_name("imagenet_classes.csv")
BACKGROUND = "background"
"""Class 0 of the networks that TensorFlow trained; their other classes are one further than everybody else's."""


@cache
def imagenet_labels(classes: Literal[1000, 1001] = 1000) -> Labels:
    """ImageNet's classes in the order of the logits: WordNet ids and names; with 1001, the background first.

    Example:
        >>> labels = imagenet_labels()
        >>> labels.ids[134], labels.name(134), labels.name(517)
        ('n02012849', 'crane', 'crane')
    """
    with FILE.open(encoding="utf-8", newline="") as file:
        rows = [(row["label"], row["name"]) for row in csv.DictReader(file)]
    if classes == 1001:
        rows = [(BACKGROUND, BACKGROUND), *rows]
    ids, names = zip(*rows, strict=True)
    return Labels(ids, names)
