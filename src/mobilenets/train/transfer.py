"""How pretrained weights are trained on, by the number of pictures."""

from .recipe import Recipe
from .recipes import FINETUNE, FINETUNE_MANY

MANY = 5_000
"""Training pictures from which batch norm's own statistics and higher rates pay (recipes.py)."""


def transfer_recipe(*, images: int) -> Recipe:
    """The recipe for `images` training pictures."""
    return FINETUNE if images < MANY else FINETUNE_MANY
