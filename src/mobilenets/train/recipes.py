"""The recipes there are: one literal table. A long table of values; each row names its source, what it gives, its cost.

"Published" numbers are the source's own, on ImageNet-1k at 224 px; nobody here has repeated them: each takes days on
the accelerators that it was made for. "Measured" numbers are ours, with the machine. What torch can't express as the
source has it is said in the row. Command for every row: mobilenets fit DATA --network NAME --recipe ROW.
"""

import difflib
from dataclasses import replace

from ..errors import UnknownName
from ..specs import Spec, with_drop_path, with_dropout
from .recipe import SGD, AdamW, Augmentation, Cosine, Exponential, Muon, Recipe, RMSprop

# small_images: digits, icons, CIFAR and the like, 32 to 64 px, with a stem stride of 1.
#   Source: ours. Written characters are not mirrored; small shifts and rotations are all the augmentation they bear.
SMALL_IMAGES = Recipe(
    name="small_images",
    epochs=60,
    batch=64,
    lr=4e-3,
    warmup_epochs=3,
    weight_decay=0.05,
    label_smoothing=0.1,
    ema=0.998,
    augmentation=Augmentation(scale=(0.8, 1.0), ratio=(0.9, 1.1), flip=False, rotate_deg=8.0, shift=0.05),
)

# photos: real photos from scratch, few of them (10 to 1000 a class), minutes on a CPU.
#   Source: ours, on 648 photos of 81 grocery classes, V3-Small trained at 112 px, one run each, chosen on val (120
#   photos). Muon at 3e-3: a training loss of 1.92 after 937 steps (lighter augmentation), AdamW at 2e-3: 2.36. 86,000
#   pictures shown, val top-1 at 144 px (test in brackets): weight decay 0.05 and dropout 0.2: 36 % (48 %); both 0.4:
#   48 % (55 %); every pair mixed, erasing, more jitter, a decay of 0.1 and dropout 0.2: 30 % (40 %). Fed 128 px instead
#   of 144, the second one: 47 % (53 %); random crops enlarge objects (arXiv:1906.06423).
PHOTOS = Recipe(
    name="photos",
    epochs=150,
    batch=32,
    lr=3e-3,
    optimizer=Muon(),
    warmup_epochs=5,
    weight_decay=0.4,
    label_smoothing=0.1,
    dropout=0.4,
    ema=0.998,
    side_ratios=(0.78,),
    augmentation=Augmentation(
        scale=(0.25, 1.0),
        brightness=0.3,
        contrast=0.3,
        saturation=0.3,
        mixup_alpha=0.2,
        cutmix_alpha=1.0,
        mix=0.5,
    ),
)

# finetune: pretrained weights, a few thousand images or fewer.
#   Source: rates of shicai/MobileNet-Caffe#75 (0.01 explodes, 0.001 or below trains) and timm#2204 (gentler than from
#   scratch); batch-norm statistics stay as they came, which small batches need (keras#9214). Measured: V2 1.0 from an
#   8-bit file, 648 photos of 81 classes, 128 px, 6 epochs, one run each, test top-1: linear probe 60 %; norms left as
#   biases and the backbone at 0.1 of the rate 63 %, at 0.3 70 %, at 1 68 %; norms put back, at 0.3: frozen 70 %, live
#   62 %; live at 1: 60 %. benchmarks/transfer.md has seeds and fewer photos.
FINETUNE = Recipe(
    name="finetune",
    epochs=30,
    batch=32,
    lr=1e-3,
    backbone_lr=0.3,
    head="fitted",
    start_shares=(0.25, 0.0, 0.5, 0.75, 1.0),
    warmup_epochs=1,
    weight_decay=0.01,
    label_smoothing=0.1,
    ema=0.998,
    norm_statistics="frozen",
    patience=10,
    augmentation=Augmentation(scale=(0.5, 1.0), brightness=0.2, contrast=0.2, saturation=0.2),
)

# finetune_many: pretrained weights, more pictures than that.
#   Source: ours, not measured on data of that size: norms follow the new pictures once there are enough for them, and
#   there is no need to give up early.
FINETUNE_MANY = replace(FINETUNE, name="finetune_many", batch=64, norm_statistics="live", patience=None)

# v1_slim: MobileNetV1 as slim trained it. Source: slim nets/mobilenet_v1_train.py. Published: 70.9 % (checkpoint of
#   2018-02-22). Cost: 16 to 64 GPU workers there; here batch 64 in one process. The paper keeps weight decay off the
#   depthwise kernels (section 3.2) and augments less.
V1_SLIM = Recipe(
    name="v1_slim",
    epochs=100,
    batch=64,
    lr=0.045,
    optimizer=SGD(momentum=0.0),
    schedule=Exponential(rate=0.94, every_epochs=2.5),
    warmup_epochs=0,
    weight_decay=4e-5,
    decay_depthwise=False,
    label_smoothing=0.0,
    dropout=0.001,
    ema=None,
    augmentation=Augmentation(scale=(0.5, 1.0)),
)

# v2_paper: MobileNetV2. Source: arXiv:1801.04381, section 6.1. Published: 72.0 %. Cost: 16 GPUs x batch 96; the table
#   sums them into one batch. Differs: torch's RMSprop (eps outside of the root); the paper's GPUs were asynchronous.
V2_PAPER = Recipe(
    name="v2_paper",
    epochs=300,
    batch=1536,
    lr=0.045,
    optimizer=RMSprop(decay=0.9, momentum=0.9, eps=1.0),
    schedule=Exponential(rate=0.98, every_epochs=1),
    warmup_epochs=0,
    weight_decay=4e-5,
    label_smoothing=0.0,
    dropout=0.2,
    augmentation=Augmentation(scale=(0.08, 1.0)),
)

# v3_paper: MobileNetV3. Source: arXiv:1905.02244, section 6.1 ("dropout 0.8" is the share kept). Published: Large
#   75.2 %, Small 67.4 %. Cost: 4 x 4 TPU, batch 4096. Differs: torch's RMSprop.
V3_PAPER = Recipe(
    name="v3_paper",
    epochs=600,
    batch=4096,
    lr=0.1,
    optimizer=RMSprop(decay=0.9, momentum=0.9, eps=0.0447),
    schedule=Exponential(rate=0.99, every_epochs=3),
    warmup_epochs=5,
    weight_decay=1e-5,
    label_smoothing=0.1,
    dropout=0.2,
    ema=0.9999,
    augmentation=Augmentation(scale=(0.08, 1.0)),
)

# v3_torchvision: MobileNetV3-Large. Source: torchvision references/classification. Published: 74.04 %. Cost: 8 GPUs x
#   128, 600 epochs. Differs: RandAugment for AutoAugment, averaged weights for the mean of the last checkpoints.
V3_TORCHVISION = Recipe(
    name="v3_torchvision",
    epochs=600,
    batch=1024,
    lr=0.064,
    optimizer=RMSprop(decay=0.9, momentum=0.9, eps=0.0316),
    schedule=Exponential(rate=0.973, every_epochs=2),
    warmup_epochs=0,
    weight_decay=1e-5,
    label_smoothing=0.0,
    ema=0.9999,
    augmentation=Augmentation(scale=(0.08, 1.0), rand_layers=2, rand_magnitude=9, erase=0.2),
)

# v4_conv_small and the rest of V4: arXiv:2404.10518, Table 10 (AdamW, cosine, RandAugment of 2 layers). Published:
#   Conv-S 73.8 %, Conv-M 79.9 %, Hybrid-M 80.7 %, Conv-L 82.9 %, Hybrid-L 83.4 %. Cost: batches of 4096 to 16384 on
#   TPUs. Differs: Conv-S's extra L2 of 1e-5 is left out (its AdamW already decays weights by 0.01).
V4_CONV_SMALL = Recipe(
    name="v4_conv_small",
    epochs=9600,
    batch=4096,
    lr=0.002,
    optimizer=AdamW(beta1=0.6, beta2=0.999, eps=1e-6),
    warmup_epochs=5,
    weight_decay=0.01,
    label_smoothing=0.1,
    dropout=0.3,
    drop_path=0.0,
    ema=0.9999,
    augmentation=Augmentation(scale=(0.08, 1.0), rand_layers=2, rand_magnitude=9, rand_probability=0.5),
)

V4_CONV_MEDIUM = Recipe(
    name="v4_conv_medium",
    epochs=500,
    batch=4096,
    lr=0.004,
    optimizer=AdamW(eps=1e-7),
    warmup_epochs=5,
    weight_decay=0.1,
    label_smoothing=0.1,
    dropout=0.2,
    drop_path=0.075,
    ema=None,
    augmentation=Augmentation(scale=(0.08, 1.0), rand_layers=2, rand_magnitude=15, rand_probability=0.7),
)

V4_HYBRID_MEDIUM = Recipe(
    name="v4_hybrid_medium",
    epochs=500,
    batch=16384,
    lr=0.016,
    optimizer=AdamW(eps=1e-7),
    warmup_epochs=20,
    weight_decay=0.1,
    label_smoothing=0.1,
    dropout=0.2,
    drop_path=0.075,
    ema=None,
    augmentation=Augmentation(scale=(0.08, 1.0), rand_layers=2, rand_magnitude=15, rand_probability=0.7),
)

V4_CONV_LARGE = Recipe(
    name="v4_conv_large",
    epochs=500,
    batch=16384,
    lr=0.004,
    optimizer=AdamW(eps=1e-7),
    warmup_epochs=20,
    weight_decay=0.2,
    label_smoothing=0.1,
    dropout=0.2,
    drop_path=0.35,
    ema=None,
    augmentation=Augmentation(
        scale=(0.08, 1.0), rand_layers=2, rand_magnitude=15, mixup_alpha=0.8, cutmix_alpha=1.0, mix=0.3
    ),
)

V4_HYBRID_LARGE = Recipe(
    name="v4_hybrid_large",
    epochs=500,
    batch=16384,
    lr=0.01,
    optimizer=AdamW(eps=1e-7),
    schedule=Cosine(floor=0.001),
    warmup_epochs=20,
    weight_decay=0.2,
    label_smoothing=0.1,
    dropout=0.2,
    drop_path=0.35,
    ema=None,
    augmentation=Augmentation(
        scale=(0.08, 1.0), rand_layers=2, rand_magnitude=15, mixup_alpha=0.8, cutmix_alpha=1.0, mix=0.3
    ),
)

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        SMALL_IMAGES,
        PHOTOS,
        FINETUNE,
        FINETUNE_MANY,
        V1_SLIM,
        V2_PAPER,
        V3_PAPER,
        V3_TORCHVISION,
        V4_CONV_SMALL,
        V4_CONV_MEDIUM,
        V4_HYBRID_MEDIUM,
        V4_CONV_LARGE,
        V4_HYBRID_LARGE,
    )
}


def find_recipe(name: str) -> Recipe:
    """The recipe of that name. Raises UnknownName with the closest names."""
    if name in RECIPES:
        return RECIPES[name]
    near = difflib.get_close_matches(name, RECIPES, n=3)
    guess = f"; did you mean {', '.join(near)}?" if near else ""
    raise UnknownName(f"no recipe called {name!r}{guess}", hint=f"recipes: {', '.join(RECIPES)}")


def recipe_spec(spec: Spec, recipe: Recipe) -> Spec:
    """`spec` with the dropout and drop path that the recipe asks for: what to build before training by it."""
    if recipe.dropout is not None:
        spec = with_dropout(spec, recipe.dropout)
    return spec if recipe.drop_path is None else with_drop_path(spec, recipe.drop_path)
