"""Image classification: one label per image, or none of these."""

from typing import TYPE_CHECKING

from ..._lazy import lazy

__all__ = ["Classification", "ClassificationDecoding", "ClassificationTask"]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "Classification": ".result",
        "ClassificationDecoding": ".decoding",
        "ClassificationTask": ".head",
    },
)

if TYPE_CHECKING:
    from .decoding import ClassificationDecoding as ClassificationDecoding
    from .head import ClassificationTask as ClassificationTask
    from .result import Classification as Classification
