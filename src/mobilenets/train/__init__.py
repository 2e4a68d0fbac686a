"""Training: one loop, recipes as values, checkpoints that a run is resumed from to the bit.

`train` is the loop, `RECIPES` what it can be told, `predict_outputs` what a network answers to image files.
"""

from typing import TYPE_CHECKING

from .._lazy import lazy

_WHERE = {
    "train": ".loop",
    "DEFAULT_MINUTES": ".choosing",
    "Choice": ".choosing",
    "choose_photo_network": ".choosing",
    "kind_of": ".choosing",
    "small_image_network": ".choosing",
    "small_side_px": ".choosing",
    "training_rate": ".choosing",
    "AdamW": ".recipe",
    "Muon": ".recipe",
    "Augmentation": ".recipe",
    "Cosine": ".recipe",
    "Exponential": ".recipe",
    "Recipe": ".recipe",
    "RMSprop": ".recipe",
    "SGD": ".recipe",
    "recipe_code": ".recipe",
    "RECIPES": ".recipes",
    "find_recipe": ".recipes",
    "recipe_spec": ".recipes",
    "Budget": ".plan",
    "Plan": ".plan",
    "TrainStep": ".step",
    "Compute": ".step",
    "fastest_step": ".timing",
    "candidates": ".timing",
    "build_optimizer": ".optimizers",
    "RunConfig": ".run_folder",
    "read_config": ".run_folder",
    "StepEvent": ".loggers",
    "Logger": ".loggers",
    "open_logger": ".loggers",
    "pick_device": ".distributed",
    "has_state": ".run_folder",
    "NORM_GAP": ".evaluation",
    "paired_gain": ".evaluation",
    "start_weights": ".start",
    "transfer_recipe": ".transfer",
    "training_batches": ".unfolding",
    "unfold": ".unfolding",
    "unfolded_spec": ".unfolding",
    "Predicted": ".outputs",
    "predict_outputs": ".outputs",
}

__all__ = [
    "DEFAULT_MINUTES",
    "NORM_GAP",
    "RECIPES",
    "SGD",
    "AdamW",
    "Augmentation",
    "Budget",
    "Choice",
    "Compute",
    "Cosine",
    "Exponential",
    "Logger",
    "Muon",
    "Plan",
    "Predicted",
    "RMSprop",
    "Recipe",
    "RunConfig",
    "StepEvent",
    "TrainStep",
    "build_optimizer",
    "candidates",
    "choose_photo_network",
    "fastest_step",
    "find_recipe",
    "has_state",
    "kind_of",
    "open_logger",
    "paired_gain",
    "pick_device",
    "predict_outputs",
    "read_config",
    "recipe_code",
    "recipe_spec",
    "small_image_network",
    "small_side_px",
    "start_weights",
    "train",
    "training_batches",
    "training_rate",
    "transfer_recipe",
    "unfold",
    "unfolded_spec",
]

__getattr__, __dir__ = lazy(__name__, _WHERE)

if TYPE_CHECKING:
    from .choosing import DEFAULT_MINUTES as DEFAULT_MINUTES
    from .choosing import Choice as Choice
    from .choosing import choose_photo_network as choose_photo_network
    from .choosing import kind_of as kind_of
    from .choosing import small_image_network as small_image_network
    from .choosing import small_side_px as small_side_px
    from .choosing import training_rate as training_rate
    from .distributed import pick_device as pick_device
    from .evaluation import NORM_GAP as NORM_GAP
    from .evaluation import paired_gain as paired_gain
    from .loggers import Logger as Logger
    from .loggers import StepEvent as StepEvent
    from .loggers import open_logger as open_logger
    from .loop import train as train
    from .optimizers import build_optimizer as build_optimizer
    from .outputs import Predicted as Predicted
    from .outputs import predict_outputs as predict_outputs
    from .plan import Budget as Budget
    from .plan import Plan as Plan
    from .recipe import SGD as SGD
    from .recipe import AdamW as AdamW
    from .recipe import Augmentation as Augmentation
    from .recipe import Cosine as Cosine
    from .recipe import Exponential as Exponential
    from .recipe import Muon as Muon
    from .recipe import Recipe as Recipe
    from .recipe import RMSprop as RMSprop
    from .recipe import recipe_code as recipe_code
    from .recipes import RECIPES as RECIPES
    from .recipes import find_recipe as find_recipe
    from .recipes import recipe_spec as recipe_spec
    from .run_folder import RunConfig as RunConfig
    from .run_folder import has_state as has_state
    from .run_folder import read_config as read_config
    from .start import start_weights as start_weights
    from .step import Compute as Compute
    from .step import TrainStep as TrainStep
    from .timing import candidates as candidates
    from .timing import fastest_step as fastest_step
    from .transfer import transfer_recipe as transfer_recipe
    from .unfolding import training_batches as training_batches
    from .unfolding import unfold as unfold
    from .unfolding import unfolded_spec as unfolded_spec
