"""Peak and training memory: by hand, and against what PyTorch really keeps for the backward pass."""

import pytest
import torch
from torch import Tensor

from mobilenets.errors import SpecError, UnknownName, UsageError
from mobilenets.measure import cost, fitting_networks
from mobilenets.models import build
from mobilenets.specs import MQA, SE, Bottleneck, Conv, Pool, Separable, Spec, resolve


def test_peak_by_hand() -> None:
    """Stem 8x8x4, then expand to 16 channels, depthwise 16 -> 16, project to 4 with a residual."""
    spec = Spec("hand", Conv(3, 4), (Bottleneck(3, 16, 4),), classes=0, resolution_px=(8, 8))
    found = cost(spec)
    cells = 64
    alive = {layer.name: layer.activation_elements for layer in found.layers}
    assert alive == {
        "stem.conv": (3 + 4) * cells,
        "blocks.0.expand": (4 + 16) * cells,
        "blocks.0.dw": (4 + 16 + 16) * cells,
        "blocks.0.project": (4 + 16 + 4) * cells,
    }
    assert found.peak_layer == "blocks.0.dw"
    assert found.peak_activation_mb.int8 == pytest.approx(36 * cells / 1e6)
    assert found.peak_activation_mb.float32 == pytest.approx(4 * 36 * cells / 1e6)


def test_no_waiting_input_without_a_residual() -> None:
    strided = Spec("s", Conv(3, 4), (Bottleneck(3, 16, 4, 2),), classes=0, resolution_px=(8, 8))
    assert {layer.name: layer.activation_elements for layer in cost(strided).layers}["blocks.0.dw"] == 16 * 64 + 16 * 16


def test_addition_can_be_the_peak() -> None:
    """Input, branch and sum of a narrow block that shrinks inside: 3 * 64 beside 64 + 8 + 64."""
    spec = Spec("add", Conv(1, 64), (Bottleneck(1, 8, 64),), classes=0, in_channels=1, resolution_px=(4, 4))
    found = cost(spec)
    assert found.peak_layer == "blocks.0.skip"
    assert found.peak_activation_mb.int8 == pytest.approx(3 * 64 * 16 / 1e6)


def test_gate_and_attention_count() -> None:
    gated = Spec("g", Conv(1, 4), (Bottleneck(1, 16, 8, se=SE(2)),), classes=0, resolution_px=(4, 4))
    assert {m.name: m.activation_elements for m in cost(gated).layers}["blocks.0.se"] == 2 * 16 * 16 + 16
    attention = Spec("a", Conv(1, 8), (MQA(2, 4),), classes=0, resolution_px=(16, 16))
    n, heads = 256, 2
    want = n * 8 + 2 * heads * n * n + n * 4
    assert cost(attention).peak_activation_mb.int8 == pytest.approx(want / 1e6)
    assert cost(attention).peak_layer == "blocks.0.attention"


def test_memory_grows_with_the_image_and_parameters_do_not() -> None:
    spec = resolve("mobilenetv2")
    small, large = (cost(spec, resolution_px=size) for size in ((96, 128), (192, 256)))
    assert small.params == large.params
    assert large.peak_activation_mb.int8 == pytest.approx(4 * small.peak_activation_mb.int8)
    assert large.training_mb_per_image == pytest.approx(4 * small.training_mb_per_image, rel=0.01)
    assert small.training_mb_fixed == pytest.approx(16 * small.params / 1e6)


def test_flash_by_hand() -> None:
    """One 3x3x3x4 convolution with its norm folded to 4 biases, one classifier of 4x2 and 2 biases."""
    found = cost(Spec("f", Conv(3, 4), (Pool("avg", 2, 2),), classes=2, resolution_px=(4, 4)))
    weights, biases = 108 + 8, 4 + 2
    assert found.flash_mb.float32 == pytest.approx(4 * (weights + biases) / 1e6)
    assert found.flash_mb.float16 == pytest.approx(2 * (weights + biases) / 1e6)
    assert found.flash_mb.int8 == pytest.approx((weights + 8 * biases) / 1e6)


def test_flash_is_near_a_published_int8_file() -> None:
    """MobileNetV2 1.0 at 224 px as an int8 .tflite has 4.07 MB with its graph; weights are most of that."""
    assert 3.4 < cost(resolve("mobilenetv2")).flash_mb.int8 < 4.07


def kept_by_autograd(spec: Spec, images: int) -> int:
    """Bytes that PyTorch keeps for the backward pass of a batch, parameters left out, every storage once."""
    torch.manual_seed(0)
    network = build(spec).train()
    own = {p.untyped_storage().data_ptr() for p in network.parameters()}
    kept: dict[int, int] = {}
    alive: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        network(torch.randn(images, spec.in_channels, *spec.resolution_px)).sum()
    return sum(kept.values())


@pytest.mark.parametrize(
    "name", ["mobilenetv1", "mobilenetv2", "mobilenetv3_large", "mobilenetv4_conv_small", "mobilenetv4_hybrid_medium"]
)
def test_training_memory_is_what_autograd_keeps(name: str) -> None:
    """Within 10 %: the largest activations are counted, the many small vectors of norms are not."""
    spec = resolve(name, alpha=0.5, resolution_px=(96, 64), classes=10)
    two, six = (kept_by_autograd(spec, images) for images in (2, 6))
    assert cost(spec).training_mb_per_image == pytest.approx((six - two) / 4 / 1e6, rel=0.1)


def test_an_image_too_small_is_refused() -> None:
    spec = Spec("p", Conv(3, 4), (Pool("max", 4, 4), Separable(3, 8)), resolution_px=(16, 16))
    with pytest.raises(SpecError, match=r"blocks\.0: an image of 3x16 px leaves nothing for 'pool'"):
        cost(spec, resolution_px=(3, 16))
    with pytest.raises(SpecError, match="must be positive"):
        cost(spec, resolution_px=(0, 16))


def test_networks_that_fit() -> None:
    found = fitting_networks(max_ram_kb=320, max_flash_kb=1024, precision="int8")
    assert found
    for fit in found[:: max(1, len(found) // 8)]:
        again = cost(resolve(fit.network, alpha=fit.alpha), resolution_px=fit.resolution_px)
        assert fit.ram_kb == pytest.approx(1000 * again.peak_activation_mb.int8)
        assert fit.ram_kb <= 320
        assert fit.flash_kb == pytest.approx(1000 * again.flash_mb.int8)
        assert fit.flash_kb <= 1024
        assert fit.macs == again.macs
    assert [fit.macs for fit in found] == sorted((fit.macs for fit in found), reverse=True)
    names = {(fit.network, fit.alpha, fit.resolution_px) for fit in found}
    assert ("mobilenetv1", 0.25, (224, 224)) in names
    assert ("mobilenetv1", 0.5, (128, 128)) not in names, "1.3 M weights are more than 1024 kB"
    point = next(f for f in found if (f.network, f.alpha, f.resolution_px) == ("mobilenetv1", 0.25, (224, 224)))
    assert point.published_top1 == 0.498


def test_budgets_narrow_and_classes_count() -> None:
    def search(**kwargs: float) -> set[tuple[str, float, tuple[int, int]]]:
        return {
            (f.network, f.alpha, f.resolution_px)
            for f in fitting_networks(networks=("mobilenetv2", "mobilenetv3_small"), **kwargs)  # type: ignore[arg-type]  # budgets
        }

    assert search(max_ram_kb=200) < search(max_ram_kb=400) < search()
    assert search(max_flash_kb=1500) < search(max_flash_kb=1500, classes=2)
    halves = fitting_networks(networks=("mobilenetv2",), max_ram_kb=400, precision="float16")
    assert {(f.alpha, f.resolution_px) for f in halves} < {(a, r) for _, a, r in search(max_ram_kb=400)}
    with pytest.raises(UsageError, match="max_ram_kb must be positive, not 0"):
        fitting_networks(max_ram_kb=0)
    with pytest.raises(UnknownName):
        fitting_networks(networks=("nothing",))
