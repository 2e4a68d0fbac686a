"""A training recipe as a value: optimizer, schedule, augmentation, averaging. No torch; the table is recipes.py.

What a recipe leaves out: the network, its size and the data. Recipes vary by `dataclasses.replace`.
"""

from dataclasses import dataclass, fields
from typing import Literal

from ..errors import UsageError

MemoryFormat = Literal["nchw", "channels_last"]
Precision = Literal["float32", "bfloat16", "bfloat16_dw32", "float16"]
"""float32; autocast to bfloat16; the same with depthwise convolutions kept in float32; autocast to float16 with a
scaled loss (GPU)."""
Balance = Literal["none", "loss", "sampler"]


def _share(owner: str, name: str, value: float, *, open_end: bool = False) -> None:
    if not 0.0 <= value <= 1.0 or (open_end and value == 1.0):
        raise UsageError(f"{owner}: {name} must be in 0..1{' (below 1)' if open_end else ''}, not {value}")


@dataclass(frozen=True, slots=True)
class AdamW:
    """Loshchilov and Hutter 2019, arXiv:1711.05101; weight decay multiplied by the learning rate, as in PyTorch."""

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    def __post_init__(self) -> None:
        _share("adamw", "beta1", self.beta1, open_end=True)
        _share("adamw", "beta2", self.beta2, open_end=True)


@dataclass(frozen=True, slots=True)
class Muon:
    """Muon on the weights of pointwise convolutions, AdamW on all others (muon.py). One rate serves both."""

    momentum: float = 0.95
    beta1: float = 0.9
    beta2: float = 0.999

    def __post_init__(self) -> None:
        for name in ("momentum", "beta1", "beta2"):
            _share("muon", name, getattr(self, name), open_end=True)


@dataclass(frozen=True, slots=True)
class SGD:
    """Stochastic gradient descent; weight decay added to the gradient."""

    momentum: float = 0.9
    nesterov: bool = False

    def __post_init__(self) -> None:
        _share("sgd", "momentum", self.momentum, open_end=True)


@dataclass(frozen=True, slots=True)
class RMSprop:
    """PyTorch's RMSprop: eps outside of the square root and squares that start at 0. TensorFlow's, which the V1 to V3
    papers trained with, has eps inside and starts at 1; with eps 0.0316 = sqrt(0.001) the two are close (timm's
    rmsproptf note)."""

    decay: float = 0.9
    momentum: float = 0.9
    eps: float = 0.0316

    def __post_init__(self) -> None:
        _share("rmsprop", "decay", self.decay, open_end=True)
        _share("rmsprop", "momentum", self.momentum, open_end=True)


@dataclass(frozen=True, slots=True)
class Cosine:
    """Half a cosine from the peak to `floor` x peak at the end of the run (arXiv:1608.03983 without restarts)."""

    floor: float = 0.0

    def __post_init__(self) -> None:
        _share("cosine", "floor", self.floor)


@dataclass(frozen=True, slots=True)
class Exponential:
    """Peak x rate ^ floor(epochs / every): the staircase of the V1 to V3 papers. Does not know the run's length."""

    rate: float
    every_epochs: float

    def __post_init__(self) -> None:
        _share("exponential", "rate", self.rate)
        if self.every_epochs <= 0:
            raise UsageError(f"exponential: every_epochs must be positive, not {self.every_epochs}")


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What happens to a training picture, in this order (augment.py).

    scale, ratio: area share and aspect (width / height) of the random crop, log-uniform in the aspect, uniform in the
        area (Szegedy et al. 2015); the whole picture, stretched as `ratio` says, for scale (1, 1).
    flip: mirrored left to right half of the time.
    rotate_deg, shift: rotation by up to so many degrees, translation by up to so large a share of the side.
    brightness, contrast, saturation: jitter factors drawn from 1 - x to 1 + x.
    rand_layers, rand_magnitude, rand_probability: RandAugment (arXiv:1909.13719) as torchvision v2 has it, `layers`
        operations at a magnitude of 0..30, each with that probability.
    erase: probability that a rectangle (2 to 33 % of the area) becomes the mean colour (arXiv:1708.04896).
    mixup_alpha, cutmix_alpha: Beta(alpha, alpha) of the share; 0 leaves it out (arXiv:1710.09412, 1905.04899).
    mix: probability that a pair of pictures is mixed; where both alphas are positive, either with equal chance.
    """

    scale: tuple[float, float] = (0.35, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: bool = True
    rotate_deg: float = 0.0
    shift: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    rand_layers: int = 0
    rand_magnitude: int = 9
    rand_probability: float = 1.0
    erase: float = 0.0
    mixup_alpha: float = 0.0
    cutmix_alpha: float = 0.0
    mix: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 < self.scale[0] <= self.scale[1] <= 1.0:
            raise UsageError(f"augmentation: scale must rise within (0, 1], not {self.scale}")
        if not 0.0 < self.ratio[0] <= self.ratio[1]:
            raise UsageError(f"augmentation: ratio must be positive and rise, not {self.ratio}")
        for name in ("shift", "brightness", "contrast", "saturation", "rand_probability", "erase", "mix"):
            _share("augmentation", name, getattr(self, name))
        if not 0 <= self.rand_magnitude <= 30 or self.rand_layers < 0:
            raise UsageError("augmentation: RandAugment takes magnitudes 0 to 30 and at least 0 layers")
        if min(self.mixup_alpha, self.cutmix_alpha) < 0:
            raise UsageError("augmentation: mixup_alpha and cutmix_alpha must be at least 0")

    @property
    def mixes(self) -> bool:
        """Whether targets become shares of classes."""
        return self.mix > 0 and (self.mixup_alpha > 0 or self.cutmix_alpha > 0)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train.

    epochs: the length it was made for, used where nobody gives a budget.
    batch: images per step, over all processes. micro_batches: the batch is taken in so many parts whose gradients
        are averaged (memory); batch norm sees the parts.
    lr: peak learning rate for that batch. warmup_epochs: linear from 0, at most a fifth of the run.
    weight_decay: not on norms and biases; on depthwise kernels only if decay_depthwise.
    ema: decay of the averaged weights, warmed up as min(ema, (1 + step) / (10 + step)); None: no averaging.
    dropout, drop_path: None leaves the network's own (its spec's).
    clip_norm: largest gradient norm; None: no clipping.
    balance: "loss" weighs classes by 1 / images, "sampler" draws each class equally often.
    patience: stop after so many epochs without a better metric on val; None: never.
    norm_statistics: "frozen" keeps the batch-norm statistics that the network came with (small batches, few images).
    norm_momentum: batch norm's, in PyTorch's sense; None: the network's own, raised until the statistics forget their
        start within a tenth of the run.
    backbone_lr: factor on `lr` for everything below the head; 0 freezes it.
    head: "fitted" fits the classifier to the network's embeddings before the first step (probe.py); "as_built" not.
    start_shares: how much of the weights that training began with may be in those that it ends with (start.py): val
        decides; without val it is the first. Empty: the trained weights as they are.
    side_ratios: the training side as share of the network's, over equal parts of the run: (0.5, 1) trains the first
        half at half the side.
    precision, memory_format: "auto" times the possibilities on this machine.
    """

    name: str
    epochs: int
    batch: int
    lr: float
    optimizer: AdamW | Muon | SGD | RMSprop = AdamW()
    schedule: Cosine | Exponential = Cosine()
    warmup_epochs: float = 5.0
    weight_decay: float = 0.05
    decay_depthwise: bool = True
    clip_norm: float | None = None
    label_smoothing: float = 0.1
    dropout: float | None = None
    drop_path: float | None = None
    ema: float | None = 0.9999
    augmentation: Augmentation = Augmentation()
    balance: Balance = "none"
    patience: int | None = None
    norm_statistics: Literal["live", "frozen"] = "live"
    norm_momentum: float | None = None
    backbone_lr: float = 1.0
    head: Literal["as_built", "fitted"] = "as_built"
    start_shares: tuple[float, ...] = ()
    side_ratios: tuple[float, ...] = (1.0,)
    micro_batches: int = 1
    precision: Literal["auto"] | Precision = "auto"
    memory_format: Literal["auto"] | MemoryFormat = "auto"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "micro_batches"):
            if getattr(self, name) < 1:
                raise UsageError(f"recipe {self.name}: {name} must be at least 1, not {getattr(self, name)}")
        if self.batch % self.micro_batches:
            raise UsageError(f"recipe {self.name}: a batch of {self.batch} has no {self.micro_batches} equal parts")
        if self.lr <= 0 or min(self.warmup_epochs, self.weight_decay, self.backbone_lr) < 0:
            raise UsageError(f"recipe {self.name}: lr must be positive, warmup_epochs, weight_decay, backbone_lr >= 0")
        if self.clip_norm is not None and self.clip_norm <= 0:
            raise UsageError(f"recipe {self.name}: clip_norm must be positive, not {self.clip_norm}")
        for name in ("label_smoothing", "dropout", "drop_path", "ema", "norm_momentum"):
            if (value := getattr(self, name)) is not None:
                _share(f"recipe {self.name}", name, value, open_end=name != "norm_momentum")
        for share in self.start_shares:
            _share(f"recipe {self.name}", "start_shares", share)
        if self.patience is not None and self.patience < 1:
            raise UsageError(f"recipe {self.name}: patience must be at least 1, not {self.patience}")
        if not self.side_ratios or min(self.side_ratios) <= 0:
            raise UsageError(f"recipe {self.name}: side_ratios must be positive, not {self.side_ratios}")


def recipe_code(recipe: Recipe) -> str:
    """`recipe` as Python that makes it again: only what differs from the defaults."""
    plain = Recipe(name=recipe.name, epochs=recipe.epochs, batch=recipe.batch, lr=recipe.lr)
    parts = [f"{name}={getattr(recipe, name)!r}" for name in ("name", "epochs", "batch", "lr")]
    for field in fields(recipe):
        if (value := getattr(recipe, field.name)) != getattr(plain, field.name):
            parts.append(f"{field.name}={value!r}")
    return f"Recipe({', '.join(parts)})"
