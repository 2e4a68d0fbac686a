"""Each module against the formula that it implements."""

import math
from typing import Any

import pytest
import torch
from models.warmed import gap
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from mobilenets.models import Block, ConvNorm, DropPath, LayerScale, MobileMQA, Pooling, SqueezeExcite
from mobilenets.models.activations import activation
from mobilenets.models.layers import same_pads
from mobilenets.specs import (
    MQA,
    Activation,
    AttentionStep,
    Bottleneck,
    ClippedRelu,
    Conv,
    ConvStep,
    HardSigmoid,
    HardSwish,
    LeakyRelu,
    Norm,
    PoolStep,
    PRelu,
    Spec,
    SqueezeStep,
)

X = torch.linspace(-8, 8, 1601)

FORMULAS: tuple[tuple[Activation, object], ...] = (
    ("none", lambda x: x),
    ("relu", lambda x: x.clamp(min=0)),
    ("relu6", lambda x: x.clamp(0, 6)),
    ("hard_swish", lambda x: x * (x + 3).clamp(0, 6) / 6),
    ("hard_sigmoid", lambda x: (x + 3).clamp(0, 6) / 6),
    ("swish", lambda x: x / (1 + torch.exp(-x))),
    ("sigmoid", lambda x: 1 / (1 + torch.exp(-x))),
    ("gelu", lambda x: x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))),
    ("tanh", torch.tanh),
    (ClippedRelu(4.0), lambda x: x.clamp(0, 4)),
    (LeakyRelu(0.1), lambda x: torch.where(x > 0, x, 0.1 * x)),
    (PRelu(), lambda x: torch.where(x > 0, x, 0.25 * x)),
    (HardSigmoid(0.2), lambda x: (0.2 * x + 0.5).clamp(0, 1)),
    (HardSwish(), lambda x: x * (x + 3).clamp(0, 6) / 6),
    (HardSigmoid(0.16667, 0.50001, 1.00002), lambda x: (x + 3).clamp(0, 6) * 0.16667),
)


@pytest.mark.parametrize(("act", "formula"), FORMULAS, ids=lambda v: str(v) if not callable(v) else "")
def test_activations(act: Activation, formula: object) -> None:
    module = activation(act, 1)
    assert callable(formula)
    for grad in (True, False):
        x = X.clone().reshape(1, 1, -1, 1)
        with torch.set_grad_enabled(grad):
            y = x if module is None else module(x)
        assert torch.allclose(y.detach().flatten(), formula(X), atol=1e-6)


def test_relu6_has_pytorch_s_gradient() -> None:
    relu6 = activation("relu6", 1)
    assert relu6 is not None
    x = torch.linspace(-8, 8, 1601, requires_grad=True)
    torch.nn.functional.relu6(x).square().sum().backward()
    want = x.grad
    y = x.detach().clone().requires_grad_()
    relu6(y * 1.0).square().sum().backward()
    assert want is not None
    assert y.grad is not None
    assert torch.equal(y.grad, want)


def test_h_swish_is_near_swish() -> None:
    """V3 section 5.2: at most 0.142 away, at +-3; exactly 0 below -3 and x above 3."""
    hard, soft = (activation(act, 1) for act in ("hard_swish", "swish"))
    assert hard is not None
    assert soft is not None
    difference = (hard(X.clone()) - soft(X.clone())).abs()
    assert difference.max().item() == pytest.approx(0.142, abs=5e-4)
    assert abs(X[difference.argmax()].item()) == pytest.approx(3.0, abs=0.02)
    assert torch.equal(hard(X.clone())[X <= -3], torch.zeros_like(X[X <= -3]))
    assert torch.allclose(hard(X.clone())[X >= 3], X[X >= 3])


@pytest.mark.parametrize("slopes", [PRelu(), PRelu(shared=True)])
def test_prelu_slopes(slopes: PRelu) -> None:
    module = activation(slopes, 6)
    assert isinstance(module, nn.PReLU)
    assert module.weight.numel() == (1 if slopes.shared else 6)


@pytest.mark.parametrize("side", [7, 8, 9, 10])
@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(3, 2, 1), (5, 2, 1), (3, 1, 2), (7, 3, 1), (3, 2, 2)])
def test_same_padding_is_tensorflows(side: int, kernel: int, stride: int, dilation: int) -> None:
    """TensorFlow: output i covers cells i * stride - pad_before on, pad_before = total // 2, total as documented."""
    out = math.ceil(side / stride)
    total = max((out - 1) * stride + (kernel - 1) * dilation + 1 - side, 0)
    left, right, top, bottom = same_pads((side, side), (kernel, kernel), (stride, stride), dilation)
    assert (left, right) == (top, bottom) == (total // 2, total - total // 2)
    step = ConvStep("c", 1, 1, (kernel, kernel), (stride, stride), dilation, norm=False, padding="same")
    layer = ConvNorm(step, Norm())
    x = torch.randn(1, 1, side, side)
    manual = torch.zeros(out, out)
    weight = layer.conv.weight[0, 0]
    for i in range(out):
        for j in range(out):
            for a in range(kernel):
                for b in range(kernel):
                    r, c = i * stride - total // 2 + a * dilation, j * stride - total // 2 + b * dilation
                    if 0 <= r < side and 0 <= c < side:
                        manual[i, j] += (weight[a, b] * x[0, 0, r, c]).detach()
    assert torch.allclose(layer(x)[0, 0], manual, atol=1e-5)


def test_same_padding_equals_symmetric_only_for_odd_sides() -> None:
    torch.manual_seed(0)
    same = ConvNorm(ConvStep("c", 3, 4, (3, 3), (2, 2), norm=False, padding="same"), Norm())
    plain = ConvNorm(ConvStep("c", 3, 4, (3, 3), (2, 2), norm=False), Norm())
    plain.load_state_dict(same.state_dict())
    odd, even = torch.randn(1, 3, 9, 9), torch.randn(1, 3, 8, 8)
    assert torch.allclose(same(odd), plain(odd))
    assert gap(same(even), plain(even)) > 0.1


def test_squeeze_excite() -> None:
    torch.manual_seed(0)
    gate = SqueezeExcite(SqueezeStep("se", 6, 2, "relu", "hard_sigmoid"))
    x = torch.randn(2, 6, 4, 5)
    mean = x.mean((2, 3))
    inner = (mean @ gate.reduce.weight[:, :, 0, 0].T + gate.reduce.bias).clamp(min=0)
    outer = inner @ gate.expand.weight[:, :, 0, 0].T + gate.expand.bias
    want = x * ((outer + 3).clamp(0, 6) / 6)[:, :, None, None]
    assert torch.allclose(gate(x), want, atol=1e-6)


def naive_attention(module: MobileMQA, x: Tensor) -> Tensor:
    """Equation 2 of V4, head by head: softmax((X W_Qj)(SR(X) W_K)^T / sqrt(d)) (SR(X) W_V), concatenated, W_O."""
    x = module.norm(x)
    n, _, h, w = x.shape
    tokens = module.query(x).flatten(2).transpose(1, 2)
    key, value = (part(x).flatten(2).transpose(1, 2) for part in (module.key, module.value))
    heads = []
    for j in range(module.heads):
        query = tokens[:, :, j * module.key_dim : (j + 1) * module.key_dim]
        scores = query @ key.transpose(1, 2) / math.sqrt(module.key_dim)
        heads.append(scores.softmax(-1) @ value)
    joined = torch.cat(heads, -1).transpose(1, 2).reshape(n, -1, h, w)
    out: Tensor = module.project(joined)
    return out


@pytest.mark.parametrize("kv_stride", [1, 2])
def test_attention_equals_equation_2(kv_stride: int) -> None:
    torch.manual_seed(0)
    step = MQA(3, 8, kv_stride).steps(12, "symmetric")[0]
    assert isinstance(step, AttentionStep)
    module = MobileMQA(step, Norm()).eval()
    x = torch.randn(2, 12, 6, 7)
    want = naive_attention(module, x)
    assert gap(want, module(x)) < 1e-6
    with torch.no_grad():
        mixed = module.query.weight.reshape(module.heads, module.key_dim, -1).transpose(0, 1)
        module.query.weight.copy_(mixed.reshape_as(module.query.weight))
    assert gap(want, module(x)) > 1e-3, "heads and widths swapped"


class Operators(TorchDispatchMode):
    """The names of all operators that run inside."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def test_attention_has_no_transposed_key() -> None:
    """Form B: the key enters its product as the convolution leaves it; only value, query and output are permuted."""
    step = MQA(2, 4).steps(8, "symmetric")[0]
    assert isinstance(step, AttentionStep)
    module = MobileMQA(step, Norm()).eval()
    with torch.inference_mode(), Operators() as ran:
        module(torch.randn(1, 8, 4, 4))
    assert ran.names.count("bmm") == 2
    assert sum(name in ("permute", "transpose", "t") for name in ran.names) == 3
    assert not {"expand", "scaled_dot_product_attention", "matmul"} & set(ran.names)


@pytest.mark.parametrize("kind", ["max", "avg"])
def test_pooling_with_padding_sees_real_cells_only(kind: str) -> None:
    for padding in ("symmetric", "same"):
        pool = Pooling(PoolStep("p", 2, kind, (3, 3), (2, 2), padding))  # type: ignore[arg-type]  # literals
        assert torch.allclose(pool(torch.full((1, 2, 8, 7), -3.0)), torch.full((1, 2, 4, 4), -3.0))
    halved = Pooling(PoolStep("p", 1, "avg", (2, 2), (2, 2), "symmetric"))
    assert halved(torch.arange(6.0).reshape(1, 1, 2, 3)).tolist() == [[[[2.0]]]]


def test_blur_is_binomial() -> None:
    pool = Pooling(PoolStep("p", 2, "blur", (3, 3), (2, 2), "symmetric"))
    x = torch.zeros(1, 2, 5, 5)
    x[0, :, 2, 2] = 16.0
    want = torch.tensor([[0, 0, 0], [0, 4, 0], [0, 0, 0]]).float()
    assert torch.equal(pool(x)[0, 0], want)
    assert not pool.state_dict()
    assert sum(pool.window[0].flatten().tolist()) == 1.0


def test_layer_scale() -> None:
    scale = LayerScale(3, 1e-5)
    assert torch.allclose(scale(torch.ones(1, 3, 2, 2)), torch.full((1, 3, 2, 2), 1e-5))


def test_drop_path_keeps_the_mean_and_whole_images() -> None:
    torch.manual_seed(0)
    drop = DropPath(0.25)
    y = drop.train()(torch.ones(4000, 2, 3, 3))
    kept = y.flatten(1)
    assert ((kept == kept[:, :1]).all(1)).all(), "an image is dropped whole"
    assert {round(v, 5) for v in kept[:, 0].tolist()} == {0.0, 1.33333}
    assert y.mean().item() == pytest.approx(1.0, abs=0.05)
    assert torch.equal(drop.eval()(y), y)


def test_drop_path_rises_with_depth() -> None:
    from mobilenets.models import build

    spec = Spec("d", Conv(3, 8, 2), (Bottleneck(3, 16, 8),) * 5, drop_path=0.2)
    rates = [m.rate for m in build(spec).modules() if isinstance(m, DropPath)]
    assert rates == pytest.approx([0.05, 0.1, 0.15, 0.2])


def test_skip_adds_the_input() -> None:
    spec = Spec("s", Conv(3, 8), (Bottleneck(3, 16, 8),))
    block = Block(spec.rows[0], 8, spec).eval()
    x = torch.randn(1, 8, 5, 5)
    before = x.clone()
    y = x
    for module in block:
        y = module(y)
    assert torch.equal(block(x), y + x)
    assert torch.equal(x, before), "the input is left alone"
