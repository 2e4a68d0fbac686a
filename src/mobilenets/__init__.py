"""mobilenets: a folder of images in, the fastest MobileNet that a device can run out, with proof.

The names below are the public ones; each is imported on first use, so that `import mobilenets` loads nothing else.
"""

from typing import TYPE_CHECKING

from ._lazy import lazy

__version__ = "0.1.0"

__all__ = [
    "MobilenetsError",
    "ModelFile",
    "Preprocess",
    "Spec",
    "bench_models",
    "build",
    "check_data",
    "cost",
    "diagnose",
    "evaluate_model",
    "find",
    "fit",
    "fitting_networks",
    "import_model",
    "load",
    "open_dataset",
    "read_image",
    "resolve",
    "train_run",
    "verify_model",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "MobilenetsError": ".errors",
        "ModelFile": ".bundle",
        "Preprocess": ".records",
        "Spec": ".specs",
        "bench_models": ".deploy",
        "build": ".models",
        "check_data": ".data",
        "cost": ".measure",
        "diagnose": ".deploy",
        "evaluate_model": ".deploy",
        "find": ".specs",
        "fit": ".fitting",
        "fitting_networks": ".measure",
        "import_model": ".importing",
        "load": ".loading",
        "open_dataset": ".data",
        "read_image": ".data",
        "resolve": ".specs",
        "train_run": ".fitting",
        "verify_model": ".deploy",
    },
)

if TYPE_CHECKING:
    from .bundle import ModelFile as ModelFile
    from .data import check_data as check_data
    from .data import open_dataset as open_dataset
    from .data import read_image as read_image
    from .deploy import bench_models as bench_models
    from .deploy import diagnose as diagnose
    from .deploy import evaluate_model as evaluate_model
    from .deploy import verify_model as verify_model
    from .errors import MobilenetsError as MobilenetsError
    from .fitting import fit as fit
    from .fitting import train_run as train_run
    from .importing import import_model as import_model
    from .loading import load as load
    from .measure import cost as cost
    from .measure import fitting_networks as fitting_networks
    from .models import build as build
    from .records import Preprocess as Preprocess
    from .specs import Spec as Spec
    from .specs import find as find
    from .specs import resolve as resolve
