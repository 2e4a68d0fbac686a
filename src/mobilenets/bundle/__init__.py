"""The model file: one sealed folder (or the same zipped) that carries a network with everything its proof needs.

What lies where is written down in docs/model-file.md. Opening and checking need numpy and safetensors, no torch;
nothing in a model file is executed or unpickled.
"""

from typing import TYPE_CHECKING

from .._lazy import lazy

__all__ = [
    "FORMAT",
    "ExportRecord",
    "Golden",
    "GoldenImage",
    "ModelFile",
    "ModelRecord",
    "Provenance",
    "add_files",
    "choose_golden",
    "copy_model",
    "create_model_file",
    "make_golden",
    "model_card",
    "scalars",
    "synthetic_images",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "FORMAT": ".record",
        "ExportRecord": ".record",
        "Golden": ".golden",
        "GoldenImage": ".golden",
        "ModelFile": ".model_file",
        "ModelRecord": ".record",
        "Provenance": ".record",
        "add_files": ".writing",
        "choose_golden": ".golden",
        "copy_model": ".writing",
        "create_model_file": ".writing",
        "make_golden": ".golden",
        "model_card": ".card",
        "scalars": ".record",
        "synthetic_images": ".synthetic",
    },
)

if TYPE_CHECKING:
    from .card import model_card as model_card
    from .golden import Golden as Golden
    from .golden import GoldenImage as GoldenImage
    from .golden import choose_golden as choose_golden
    from .golden import make_golden as make_golden
    from .model_file import ModelFile as ModelFile
    from .record import FORMAT as FORMAT
    from .record import ExportRecord as ExportRecord
    from .record import ModelRecord as ModelRecord
    from .record import Provenance as Provenance
    from .record import scalars as scalars
    from .synthetic import synthetic_images as synthetic_images
    from .writing import add_files as add_files
    from .writing import copy_model as copy_model
    from .writing import create_model_file as create_model_file
