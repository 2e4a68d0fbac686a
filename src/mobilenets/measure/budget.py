"""Which networks fit a device's RAM and flash: every width and resolution of the catalogue, held against a budget."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import UsageError
from ..records import ActivationMB, FlashMB
from ..specs.catalogue import CATALOGUE
from ..specs.lookup import resolve
from ..specs.published import published_top1
from .costs import Cost, Precision, cost

ALPHAS = (0.25, 0.35, 0.5, 0.75, 1.0, 1.25, 1.4)
SIDES_PX = (96, 128, 160, 192, 224, 256, 320, 384)


@dataclass(frozen=True, slots=True)
class Fitting:
    """A network at a width and resolution that fits, and what it needs of the budget (kB of 10^3 bytes).

    published_top1: its ImageNet top-1 (a share) where one was printed for this width and resolution.
    """

    network: str
    alpha: float
    resolution_px: tuple[int, int]
    params: int
    macs: int
    ram_kb: float
    flash_kb: float
    peak_layer: str
    published_top1: float | None


def fitting_networks(
    *,
    max_ram_kb: float | None = None,
    max_flash_kb: float | None = None,
    precision: Precision = "int8",
    networks: Sequence[str] | None = None,
    alphas: Sequence[float] = ALPHAS,
    sides_px: Sequence[int] = SIDES_PX,
    classes: int = 1000,
    in_channels: int = 3,
) -> tuple[Fitting, ...]:
    """Every (network, alpha, square resolution) whose peak activations and weights fit, most MACs first.

    max_ram_kb, max_flash_kb: budgets in kB (10^3 bytes), None for no limit; activations of float16 take two bytes.
    networks: names; None for the whole catalogue. An engine's own code and scratch come on top.

    Raises: UsageError for a budget that is not positive; UnknownName.
    """
    for name, budget in (("max_ram_kb", max_ram_kb), ("max_flash_kb", max_flash_kb)):
        if budget is not None and not budget > 0:
            raise UsageError(f"{name} must be positive, not {budget}")
    found: list[Fitting] = []
    for name in networks if networks is not None else tuple(CATALOGUE):
        for alpha in alphas:
            spec = resolve(name, alpha=alpha, classes=classes, in_channels=in_channels)
            for side_px in sides_px:
                spent = cost(spec, resolution_px=(side_px, side_px))
                flash_kb = 1000 * _flash(spent.flash_mb, precision)
                if max_flash_kb is not None and flash_kb > max_flash_kb:
                    break
                ram_kb = 1000 * _ram(spent.peak_activation_mb, precision)
                if max_ram_kb is not None and ram_kb > max_ram_kb:
                    break
                found.append(_fitting(spent, name, alpha, side_px, ram_kb, flash_kb))
    return tuple(sorted(found, key=lambda f: (-f.macs, f.network, f.alpha)))


def _fitting(spent: Cost, name: str, alpha: float, side_px: int, ram_kb: float, flash_kb: float) -> Fitting:
    return Fitting(
        network=name,
        alpha=alpha,
        resolution_px=(side_px, side_px),
        params=spent.params,
        macs=spent.macs,
        ram_kb=ram_kb,
        flash_kb=flash_kb,
        peak_layer=spent.peak_layer,
        published_top1=published_top1(name, alpha, side_px),
    )


def _flash(flash: FlashMB, precision: Precision) -> float:
    match precision:
        case "float32":
            return flash.float32
        case "float16":
            return flash.float16
        case "int8":
            return flash.int8


def _ram(peak: ActivationMB, precision: Precision) -> float:
    match precision:
        case "float32":
            return peak.float32
        case "float16":
            return peak.float32 / 2
        case "int8":
            return peak.int8
