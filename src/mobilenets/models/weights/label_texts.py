"""Class labels among the strings that graph files carry as metadata: a list or a numbered dict, as JSON or Python."""

import ast
import json
from collections.abc import Mapping
from typing import Any

KEYS = ("labels", "names", "classes", "class_names")
MOST_CHARACTERS = 4_000_000
MOST_BRACKETS = 8
"""Labels are one list or dict; deeper text is not parsed at all."""


def labels_in(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """The labels under the first key that ends in a word for them, () where none does or none can be read.

    Words alone under "labels" are labels too, as OpenVINO's Model API writes them.
    """
    for key, text in metadata.items():
        word = key.rpartition(".")[2].lower()
        if word in KEYS and (labels := _labels(_parsed(text))):
            return labels
        if word == "labels" and len(words := text.split()) > 1 and not text.lstrip().startswith(("[", "{", "(")):
            return tuple(words)
    return ()


def _parsed(text: str) -> Any:
    """JSON, or a Python literal (`{0: 'cat'}`, as some trainers write); None for anything else."""
    if len(text) > MOST_CHARACTERS or not text.strip().startswith(("[", "{", "(")) or _depth(text) > MOST_BRACKETS:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None


def _depth(text: str) -> int:
    """How deep brackets nest, those in words counted too."""
    depth = deepest = 0
    for character in text:
        if character in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in ")]}":
            depth -= 1
    return deepest


def _labels(value: Any) -> tuple[str, ...]:
    if isinstance(value, dict):
        numbers = {str(key): label for key, label in value.items()}
        value = [numbers.get(str(i)) for i in range(len(numbers))]
    if not isinstance(value, (list, tuple)) or not all(isinstance(label, str) for label in value):
        return ()
    return tuple(value)
