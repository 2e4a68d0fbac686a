"""Random networks for laws that must hold for any: small widths, every kind of row, activation, norm and stride."""

from hypothesis import strategies as st

from mobilenets.errors import SpecError
from mobilenets.specs import (
    MQA,
    SE,
    UIB,
    Activation,
    Bottleneck,
    ClippedRelu,
    Conv,
    Depthwise,
    FusedBottleneck,
    HardSigmoid,
    HardSwish,
    Head,
    LeakyRelu,
    Norm,
    Pool,
    PRelu,
    Row,
    Separable,
    Spec,
)

ACTIVATIONS: tuple[Activation, ...] = (
    "none", "relu", "relu6", "hard_swish", "hard_sigmoid", "swish", "sigmoid", "gelu", "tanh",
    ClippedRelu(4.0), LeakyRelu(0.1), PRelu(), PRelu(shared=True), HardSigmoid(0.2), HardSwish(0.2, 0.5, 1.0),
)  # fmt: skip
NORMS = ("batch", "batch_bias", "bias", "none")

counts = st.sampled_from((1, 2, 3, 4, 6, 8))
kernels = st.sampled_from((1, 3, 5, (3, 1), (1, 5)))
strides = st.sampled_from((1, 1, 1, 2, (2, 1), (1, 2), (2, 2)))
acts = st.sampled_from(ACTIVATIONS)
norms = st.sampled_from(NORMS)
downsamples = st.sampled_from(("stride", "avg", "blur"))
dilations = st.sampled_from((1, 1, 2))
squeezes = st.none() | st.builds(SE, counts, acts, st.sampled_from(("hard_sigmoid", "sigmoid", HardSigmoid(0.2))))


@st.composite
def rows(draw: st.DrawFn, c_in: int) -> Row:
    """One row of any kind that fits behind `c_in` channels."""
    kind = draw(st.integers(0, 7))
    c_out = draw(st.just(c_in) | counts)
    shared = {"act": draw(acts), "norm": draw(norms), "dilation": draw(dilations)}
    kernel, stride, downsample = draw(kernels), draw(strides), draw(downsamples)
    match kind:
        case 0:
            groups = draw(st.sampled_from([g for g in range(1, c_in + 1) if c_in % g == 0 and c_out % g == 0]))
            return Conv(kernel, c_out, stride, groups=groups, downsample=downsample, **shared)
        case 1:
            pad = draw(st.booleans())
            wide = kernel if pad else draw(st.sampled_from((1, 2, 3, (3, 2))))
            return Depthwise(wide, draw(st.integers(1, 3)), stride, pad=pad, downsample=downsample, **shared)
        case 2:
            return Separable(kernel, c_out, stride, downsample=downsample, **shared)
        case 3:
            c_hidden = draw(st.just(c_in) | counts)
            se, skip = draw(squeezes), draw(st.booleans())
            return Bottleneck(kernel, c_hidden, c_out, stride, se=se, skip=skip, downsample=downsample, **shared)
        case 4:
            groups = draw(st.sampled_from([g for g in range(1, c_in + 1) if c_in % g == 0]))
            c_hidden, se = groups * draw(st.integers(1, 3)), draw(squeezes)
            return FusedBottleneck(kernel, c_hidden, c_out, stride, se=se, groups=groups, **shared)
        case 5:
            start, middle = draw(st.sampled_from(((3, 5), (0, 3), (5, 0), (0, 0))))
            scale = draw(st.sampled_from((None, 0.5)))
            moves = stride if start or middle else 1
            return UIB(start, middle, draw(counts), c_out, moves, scale=scale, downsample=downsample, **shared)
        case 6:
            norm = draw(st.sampled_from(("batch", "bias")))
            kv_stride, scale = draw(st.sampled_from((1, 2))), draw(st.sampled_from((None, 0.5)))
            return MQA(draw(st.integers(1, 3)), draw(counts), kv_stride, scale=scale, norm=norm)
        case _:
            pooling = draw(
                st.sampled_from((("max", 2), ("max", 3), ("avg", 2), ("avg", 3), ("blur", 3), ("avg", (2, 1))))
            )
            return Pool(*pooling, draw(st.sampled_from((1, 2, (2, 1)))))


@st.composite
def specs(draw: st.DrawFn, *, most_rows: int = 5) -> Spec:
    """A network of one to `most_rows` rows for an image that passes through it."""
    in_channels = draw(st.integers(1, 4))
    stem = Conv(draw(st.sampled_from((1, 3, 5))), draw(counts), draw(strides), act=draw(acts), norm=draw(norms))
    table: list[Row] = []
    c_in = stem.c_out
    for _ in range(draw(st.integers(1, most_rows))):
        table.append(draw(rows(c_in)))
        c_in = table[-1].outputs(c_in)
    head = Head(draw(st.sampled_from((0, 5))), draw(acts), draw(norms), dropout=draw(st.sampled_from((0.0, 0.2))))
    try:
        return Spec(
            "drawn",
            stem,
            tuple(table),
            head,
            classes=draw(st.sampled_from((0, 1, 3))),
            in_channels=in_channels,
            resolution_px=(draw(st.integers(9, 24)), draw(st.integers(9, 24))),
            padding=draw(st.sampled_from(("symmetric", "same"))),
            norm=Norm(draw(st.sampled_from((1e-5, 1e-3)))),
            drop_path=draw(st.sampled_from((0.0, 0.1))),
        )
    except SpecError:
        # A pooling or an unpadded convolution on a map that is too small: not a network, draw another.
        from hypothesis import reject

        reject()
