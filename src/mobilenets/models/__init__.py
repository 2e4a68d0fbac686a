"""Specs made into PyTorch modules: one module per step, taps declared, weights as named arrays."""

from typing import TYPE_CHECKING

from .._lazy import lazy

if TYPE_CHECKING:
    from .arrays import adapt_stem, load_exact, state_arrays
    from .attention import MobileMQA
    from .blocks import Block, DropPath
    from .folding import fold
    from .initial import initialise
    from .layers import ConvNorm, LayerScale, Pooling, SqueezeExcite
    from .network import Backbone, Network, build

__all__ = [
    "Backbone",
    "Block",
    "ConvNorm",
    "DropPath",
    "LayerScale",
    "MobileMQA",
    "Network",
    "Pooling",
    "SqueezeExcite",
    "adapt_stem",
    "build",
    "fold",
    "initialise",
    "load_exact",
    "state_arrays",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "Backbone": ".network",
        "Block": ".blocks",
        "ConvNorm": ".layers",
        "DropPath": ".blocks",
        "LayerScale": ".layers",
        "MobileMQA": ".attention",
        "Network": ".network",
        "Pooling": ".layers",
        "SqueezeExcite": ".layers",
        "adapt_stem": ".arrays",
        "build": ".network",
        "fold": ".folding",
        "initialise": ".initial",
        "load_exact": ".arrays",
        "state_arrays": ".arrays",
    },
)
