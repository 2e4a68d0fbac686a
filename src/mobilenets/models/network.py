"""A spec made into a network: backbone with its taps, pooling, hidden layer, classifier."""

from collections.abc import Collection

from torch import Tensor, nn

from ..errors import UsageError
from ..specs.lookup import Network as Asked
from ..specs.lookup import resolve
from ..specs.spec import Spec, Tap
from .blocks import Block
from .initial import initialise
from .layers import ConvNorm


class Backbone(nn.Module):
    """Stem and blocks, and the taps that a task may read.

    taps: every tap by name, in execution order (see `specs.Tap`).
    Shapes: float (N, in_channels, h, w) -> (N, channels, ceil(h / 32), ceil(w / 32)) for an output stride of 32.
    """

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.tap_table: dict[str, Tap] = {tap.name: tap for tap in spec.taps()}
        (_, stem, c_in, _), *rows = spec.blocks()
        last = max(len(rows) - 1, 1)
        self.stem = Block(stem, c_in, spec)
        self.blocks = nn.Sequential(
            *(Block(row, c, spec, drop_path=spec.drop_path * i / last) for i, (_, row, c, _) in enumerate(rows))
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.blocks(self.stem(x))
        return y

    def read(self, x: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        """The named taps in the order of `names`, running no further than the last of them.

        Raises: UsageError for a name that is no tap.
        """
        unknown = [name for name in names if name not in self.tap_table]
        if unknown or not names:
            known = ", ".join(self.tap_table)
            raise UsageError(f"no tap called {unknown[0]!r}; taps: {known}" if unknown else "no tap was asked for")
        order = list(self.tap_table)
        furthest = order[max(order.index(name) for name in names)].split(".")
        ends = 0 if furthest[0] == "stem" else int(furthest[1]) + 1
        kept: dict[str, Tensor | None] = dict.fromkeys(names)
        x = self.stem.read(x, "stem", kept)
        for i, block in enumerate(self.blocks):
            if i == ends:
                break
            assert isinstance(block, Block)
            x = block.read(x, f"blocks.{i}", kept)
        return {name: tensor for name, tensor in kept.items() if tensor is not None}


class Network(nn.Module):
    """Backbone, global average pooling, hidden layer where the spec has one, dropout, linear classifier.

    spec: what it was built from. `backbone(x)` is the last feature map (C = spec.channels: 960 in V3 Large and V4);
    `embed(x)` what the classifier reads (D = spec.embedding: 1280 in V3 Large, V4 and V2, 1024 in V1 and V3 Small).
    The mean of V3's and V4's 960 channels, `backbone(x).mean((2, 3))`, is the embedding that transfers more simply.

    Shapes: float (N, in_channels, h, w) -> logits (N, K); with classes 0, the embedding (N, D).
    """

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.spec = spec
        self.backbone = Backbone(spec)
        self.hidden = nn.Sequential(*(ConvNorm(step, spec.norm) for step in spec.head.steps(spec.channels)))
        self.dropout = nn.Dropout(spec.head.dropout)
        self.classifier = nn.Linear(spec.embedding, spec.classes) if spec.classes else nn.Identity()
        initialise(self)

    def embed(self, x: Tensor) -> Tensor:
        """float (N, in_channels, h, w) -> embedding (N, D)."""
        y: Tensor = self.hidden(self.backbone(x).mean((2, 3), keepdim=True))
        return y.flatten(1)

    def classify(self, embedding: Tensor) -> Tensor:
        """embedding (N, D) -> logits (N, K); in training a share of the embedding is dropped."""
        logits: Tensor = self.classifier(self.dropout(embedding))
        return logits

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.embed(x))

    def taps(self, x: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        """The named taps of the backbone, running no further than the last of them; see `Backbone.read`."""
        return self.backbone.read(x, names)


def build(
    network: Asked,
    *,
    alpha: float | None = None,
    resolution_px: tuple[int, int] | None = None,
    classes: int | None = None,
    in_channels: int | None = None,
    output_stride: int | None = None,
    stem_stride: int | None = None,
) -> Network:
    """The network that a name, a spec's file or a spec stands for, freshly initialised; variations as in `resolve`.

    Example:
        >>> import torch
        >>> network = build("mobilenetv3_small", alpha=0.5, classes=10).eval()
        >>> tuple(network(torch.zeros(1, 3, 64, 96)).shape)
        (1, 10)
    """
    spec = resolve(
        network,
        alpha=alpha,
        resolution_px=resolution_px,
        classes=classes,
        in_channels=in_channels,
        output_stride=output_stride,
        stem_stride=stem_stride,
    )
    return Network(spec)
