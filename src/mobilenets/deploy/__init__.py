"""From the trained network to the file that a device runs: the targets, export, proof, timing, and use.

Nothing is imported before it is needed: running needs numpy, Pillow and the one runtime; exporting needs torch.
"""

from typing import TYPE_CHECKING

from .._lazy import lazy

__all__ = [
    "TARGETS",
    "Diagnosis",
    "Embedded",
    "Exported",
    "Model",
    "Option",
    "Prediction",
    "Target",
    "TargetHealth",
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
    "require_verified",
    "this_machine",
    "time_untrained",
    "trained_network",
    "verify_model",
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
        "Target": ".targets",
        "TargetHealth": ".doctor",
        "bench_models": ".bench",
        "diagnose": ".doctor",
        "export_model": ".exporting",
        "export_untrained": ".untrained",
        "facts_of": ".exporting",
        "find_target": ".targets",
        "golden_vectors": ".trained",
        "load": ".run",
        "require_verified": ".verify",
        "this_machine": ".machine",
        "time_untrained": ".bench",
        "trained_network": ".trained",
        "verify_model": ".verify",
    },
)

if TYPE_CHECKING:
    from .bench import bench_models as bench_models
    from .bench import time_untrained as time_untrained
    from .choose import Option as Option
    from .choose import choose_network as choose_network
    from .choose import options as options
    from .doctor import Diagnosis as Diagnosis
    from .doctor import TargetHealth as TargetHealth
    from .doctor import diagnose as diagnose
    from .embedded import Embedded as Embedded
    from .evaluation import evaluate_model as evaluate_model
    from .exporting import Exported as Exported
    from .exporting import export_model as export_model
    from .exporting import facts_of as facts_of
    from .machine import installed_versions as installed_versions
    from .machine import this_machine as this_machine
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
