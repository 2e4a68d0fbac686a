"""From the trained network to the file that a device runs: the targets, export, proof, timing, and use.

Nothing is imported before it is needed: running needs numpy, Pillow and the one runtime; exporting needs torch.
"""

from typing import TYPE_CHECKING

from .._lazy import lazy

__all__ = [
    "TARGETS",
    "Budget",
    "Diagnosis",
    "Embedded",
    "Exported",
    "Model",
    "Option",
    "Prediction",
    "Target",
    "TargetHealth",
    "advise_from_log",
    "advise_networks",
    "append_log",
    "bench_models",
    "choose_network",
    "diagnose",
    "evaluate_model",
    "export_model",
    "export_untrained",
    "facts_of",
    "find_target",
    "golden_vectors",
    "installed_versions",
    "load",
    "options",
    "predict_on_ray",
    "profile_model",
    "read_log",
    "require_verified",
    "source_of",
    "this_machine",
    "time_untrained",
    "trained_network",
    "verify_model",
    "write_predictions",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "Option": ".choose",
        "choose_network": ".choose",
        "options": ".choose",
        "evaluate_model": ".evaluation",
        "installed_versions": ".machine",
        "TARGETS": ".targets",
        "Diagnosis": ".doctor",
        "Embedded": ".embedded",
        "Exported": ".exporting",
        "Model": ".run",
        "Prediction": ".run",
        "predict_on_ray": ".cluster",
        "write_predictions": ".journal",
        "Target": ".targets",
        "TargetHealth": ".doctor",
        "Budget": ".advise",
        "advise_from_log": ".advise",
        "advise_networks": ".advise",
        "append_log": ".device_log",
        "read_log": ".device_log",
        "profile_model": ".profiling",
        "bench_models": ".bench",
        "diagnose": ".doctor",
        "export_model": ".exporting",
        "export_untrained": ".untrained",
        "facts_of": ".exporting",
        "find_target": ".targets",
        "golden_vectors": ".trained",
        "load": ".run",
        "require_verified": ".verify",
        "source_of": ".exporting",
        "this_machine": ".machine",
        "time_untrained": ".bench",
        "trained_network": ".trained",
        "verify_model": ".verify",
    },
)

if TYPE_CHECKING:
    from .advise import Budget as Budget
    from .advise import advise_from_log as advise_from_log
    from .advise import advise_networks as advise_networks
    from .bench import bench_models as bench_models
    from .bench import time_untrained as time_untrained
    from .choose import Option as Option
    from .choose import choose_network as choose_network
    from .choose import options as options
    from .cluster import predict_on_ray as predict_on_ray
    from .device_log import append_log as append_log
    from .device_log import read_log as read_log
    from .doctor import Diagnosis as Diagnosis
    from .doctor import TargetHealth as TargetHealth
    from .doctor import diagnose as diagnose
    from .embedded import Embedded as Embedded
    from .evaluation import evaluate_model as evaluate_model
    from .exporting import Exported as Exported
    from .exporting import export_model as export_model
    from .exporting import facts_of as facts_of
    from .exporting import source_of as source_of
    from .journal import write_predictions as write_predictions
    from .machine import installed_versions as installed_versions
    from .machine import this_machine as this_machine
    from .profiling import profile_model as profile_model
    from .run import Model as Model
    from .run import Prediction as Prediction
    from .run import load as load
    from .targets import TARGETS as TARGETS
    from .targets import Target as Target
    from .targets import find_target as find_target
    from .trained import golden_vectors as golden_vectors
    from .trained import trained_network as trained_network
    from .untrained import export_untrained as export_untrained
    from .verify import require_verified as require_verified
    from .verify import verify_model as verify_model
