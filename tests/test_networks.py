from math import prod

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from torch import nn

from skvae import VAEOutlierDetector, VAETransformer
from skvae._utils._seed import seeded
from skvae.networks import ACTIVATIONS, MLP, NETWORKS, Conv, Linear, Network


def make_network(network, image_shape=(2, 3, 1)):
    """Return a network that knows of images with six pixels."""
    network = network if isinstance(network, Network) else network()
    network.set_image(image_shape)
    return network


VARIANTS = [
    *(make_network(cls) for cls in NETWORKS.values()),
    make_network(Conv((3, 2, 4), n_blocks=2, n_hidden=5, activation="gelu")),
    make_network(Conv((3,), n_blocks=0, n_hidden=4, dropout=0.3)),
    MLP((8,)),
    MLP((8, 5, 3), activation="tanh"),
    MLP((8,), dropout=0.3),
    MLP(()),
]

over_variants = pytest.mark.parametrize("network", VARIANTS, ids=repr)
over_stackable = pytest.mark.parametrize(
    "network", [network for network in VARIANTS if network.is_stackable], ids=repr
)


class Residual(Network):
    """A network of one's own: a hidden layer beside the identity."""

    def __init__(self, width=4):
        self.width = width

    def make_encoder(self, n_inputs, n_copies=None):
        class Body(nn.Module):
            def __init__(self, width):
                super().__init__()
                self.layer = nn.Linear(n_inputs, width)

            def forward(self, x):
                return torch.cat([x, torch.relu(self.layer(x))], dim=-1)

        return Body(self.width), n_inputs + self.width

    make_decoder = make_encoder


@over_variants
@pytest.mark.parametrize("leading", [(), (7,), (3, 7), (2, 3, 7)])
def test_bodies_map_the_last_dimension(network, leading):
    for make in (network.make_encoder, network.make_decoder):
        body, n_outputs = make(6)
        output = body(torch.zeros(*leading, 6))
        # without a layer the body is the identity, of which the head needs no copy
        assert output.shape == (*leading, 6 if network.is_linear else n_outputs)


@over_stackable
@pytest.mark.parametrize("leading", [(), (5,)])
def test_stacked_bodies_keep_copies_apart(network, leading):
    with seeded(0):
        body, _ = network.make_encoder(6, n_copies=3)
    body.eval()
    x = torch.randn(*leading, 3, 7, 6, generator=torch.Generator().manual_seed(0))
    changed = x.clone()
    changed[..., 1, :, :] += 1
    before, after = body(x), body(changed)
    assert (before[..., 0, :, :] == after[..., 0, :, :]).all()
    assert (before[..., 2, :, :] == after[..., 2, :, :]).all()
    assert (before[..., 1, :, :] != after[..., 1, :, :]).any()


@over_variants
@pytest.mark.parametrize("n_copies", [None, 2])
def test_every_parameter_of_a_body_gets_a_gradient(network, n_copies):
    if n_copies is not None and not network.is_stackable:
        pytest.skip("one network after the other")
    for make in (network.make_encoder, network.make_decoder):
        with seeded(0):
            body, _ = make(6, n_copies)
            x = torch.randn(*(() if n_copies is None else (n_copies,)), 20, 6)
            x.requires_grad_()
            body(x).square().sum().backward()
        for parameter in body.parameters():
            assert parameter.grad is not None
            assert (parameter.grad != 0).any()


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_keeps_shapes(activation):
    body, n_outputs = MLP((5,), activation=activation).make_encoder(3)
    assert n_outputs == 5
    assert body(torch.zeros(2, 3)).shape == (2, 5)


def get_widths(body):
    return [layer.weight.shape[-1] for layer in body if isinstance(layer, Linear)]


def test_decoder_mirrors_the_encoder():
    network = MLP((9, 6, 4))
    encoder, n_outputs = network.make_encoder(10)
    assert get_widths(encoder) == [9, 6, 4]
    assert n_outputs == 4
    decoder, n_outputs = network.make_decoder(2)
    assert get_widths(decoder) == [4, 6, 9]
    assert n_outputs == 9


def test_network_without_hidden_layers_is_linear():
    assert MLP(()).is_linear
    assert not MLP((1,)).is_linear
    body, n_outputs = MLP(()).make_encoder(4)
    assert n_outputs == 0
    assert list(body.parameters()) == []


def test_dropout_is_for_training_only():
    with seeded(0):
        body, _ = MLP((50,), dropout=0.5).make_encoder(3)
        x = torch.ones(1, 3)
        assert (body(x) == 0).any()
        body.eval()
        assert (body(x) != 0).all()


@pytest.mark.parametrize("leading", [(), (5,), (2, 5)])
def test_linear_stack_equals_separate_linears(leading):
    stack = Linear(4, 3, n_copies=2)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in stack.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    x = torch.randn(*leading, 2, 7, 4, generator=generator)
    output = stack(x)
    assert output.shape == (*leading, 2, 7, 3)
    for copy in range(2):
        expected = nn.functional.linear(
            x[..., copy, :, :], stack.weight[copy].T, stack.bias[copy, 0]
        )
        torch.testing.assert_close(output[..., copy, :, :], expected)


@pytest.mark.parametrize("leading", [(), (7,), (5, 7), (2, 5, 7)])
def test_plain_linear_equals_torch(leading):
    linear = Linear(4, 3)
    x = torch.randn(*leading, 4, generator=torch.Generator().manual_seed(0))
    expected = nn.functional.linear(x, linear.weight.T, linear.bias[0])
    torch.testing.assert_close(linear(x), expected)


def test_copies_of_a_linear_start_equal_and_within_torchs_law():
    with seeded(0):
        stack = Linear(16, 5, n_copies=3)
    for parameter in stack.parameters():
        assert (parameter == parameter[:1]).all()
        assert parameter.abs().max() <= 0.25
        assert parameter[0].unique().numel() == parameter[0].numel()


def test_linear_may_start_at_zero():
    linear = Linear(4, 3, zero=True)
    assert (linear(torch.ones(2, 4)) == 0).all()


@pytest.mark.parametrize(
    ("name", "network"),
    [
        ("hidden_layer_sizes", MLP((0,))),
        ("hidden_layer_sizes", MLP((2.5,))),
        ("activation", MLP((4,), activation="unknown")),
        ("dropout", MLP((4,), dropout=1.5)),
    ],
)
def test_parameters_out_of_range_are_refused_by_name(name, network):
    X = np.random.default_rng(0).standard_normal((30, 3))
    with pytest.raises((ValueError, TypeError), match=name):
        VAETransformer(1, network=network, max_epochs=0).fit(X)


@over_variants
def test_parameters_survive_clone(network):
    copy = clone(network)
    assert copy is not network
    assert copy.get_params() == network.get_params()


def test_network_of_ones_own_is_trained():
    X = np.random.default_rng(0).standard_normal((60, 3))
    vae = VAETransformer(2, network=Residual(5), max_epochs=2, random_state=0).fit(X)
    module = vae.net_.module_.linear_start.map
    assert module.network.width == 5
    assert any("layer" in name for name, _ in module.named_parameters())
    assert vae.transform(X).shape == (60, 2)
    assert np.isfinite(vae.score_samples(X)).all()


class Bodies(Network):
    """A network of one's own from any function that makes a body."""

    def __init__(self, make=None):
        self.make = make

    def make_encoder(self, n_inputs, n_copies=None):
        return self.make(n_inputs), 4

    make_decoder = make_encoder


class Layer(nn.Module):
    def __init__(self, n_inputs):
        super().__init__()
        self.layer = nn.Linear(n_inputs, 4)

    def forward(self, h):
        return torch.tanh(self.layer(h))


class PlainTensor(Layer):
    def __init__(self, n_inputs):
        super().__init__(n_inputs)
        self.matrix = torch.full((4, 4), 0.5)

    def forward(self, h):
        return super().forward(h) @ self.matrix


class NewTensor(Layer):
    def forward(self, h):
        return super().forward(h) @ torch.full((4, 4), 0.5)


class LayersInAList(Layer):
    def __init__(self, n_inputs):
        super().__init__(n_inputs)
        self.frozen = [nn.Linear(n_inputs, n_inputs).requires_grad_(False)]

    def forward(self, h):
        return super().forward(self.frozen[0](h))


class CastsInside(Layer):
    def forward(self, h):
        return super().forward(h).float()


def make_parametrized(n_inputs):
    weight_norm = nn.utils.parametrizations.weight_norm
    return nn.Sequential(weight_norm(nn.Linear(n_inputs, 4)), nn.Tanh())


def fit_bodies(make, n_samples=60, **params):
    X = np.random.default_rng(0).standard_normal((n_samples, 3))
    network = Bodies(make)
    params = {"max_epochs": 2, "random_state": 0, "density": "joint"} | params
    return VAETransformer(2, network=network, **params).fit(X), X


# two epochs from random weights
@pytest.mark.filterwarnings("ignore::skvae.UnusedComponentsWarning")
@pytest.mark.parametrize("init", ["linear", "random"])
@pytest.mark.parametrize(
    "make", [PlainTensor, NewTensor, LayersInAList, CastsInside], ids=repr
)
def test_network_without_double_precision_is_scored_in_single(make, init):
    vae, X = fit_bodies(make, init=init)
    assert vae.net_.module_.single_bodies == ("encoder", "decoder")
    elbo = vae.score_samples(X)
    assert elbo.dtype == np.float64
    np.testing.assert_allclose(vae.score_samples(X[5:6]), elbo[5:6], rtol=1e-5)
    assert (vae.score_samples(X[:9], "refined") >= elbo[:9] - 1e-5).all()
    X[0, 0] = np.nan
    assert np.isfinite(vae.impute(X)).all()


def test_scores_in_single_precision_are_those_in_double():
    class Buffer(PlainTensor):
        def __init__(self, n_inputs):
            super().__init__(n_inputs)
            matrix = self.matrix
            del self.matrix
            self.register_buffer("matrix", matrix)

    single, X = fit_bodies(PlainTensor)
    double, _ = fit_bodies(Buffer)
    assert double.net_.module_.single_bodies == ()
    for method in ("elbo", "evidence"):
        scores = [vae.score_samples(X, method) for vae in (single, double)]
        np.testing.assert_allclose(*scores, rtol=1e-5)


def test_network_with_parametrizations_is_scored_in_double_precision():
    vae, X = fit_bodies(make_parametrized)
    assert vae.net_.module_.single_bodies == ()
    elbo = vae.score_samples(X)
    np.testing.assert_allclose(vae.score_samples(X[5:6]), elbo[5:6], atol=1e-9)


@pytest.mark.parametrize("make", [Layer, PlainTensor, make_parametrized])
def test_default_type_of_torch_does_not_matter(make):
    before = torch.get_default_dtype()
    vae, X = fit_bodies(make)
    try:
        torch.set_default_dtype(torch.float64)
        if make is PlainTensor:
            with pytest.raises(RuntimeError, match="dtype") as caught:
                fit_bodies(make)
            assert "zeros in single precision" in caught.value.__notes__[0]
            return
        other, _ = fit_bodies(make)
        assert other.net_.module_.dtype == torch.float32
        assert {p.dtype for p in other.net_.module_.parameters()} == {torch.float32}
        # initial weights are drawn in double precision, and so are others
        assert other.score(X) == pytest.approx(vae.score(X), abs=0.5)
    finally:
        torch.set_default_dtype(before)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda n: torch.jit.script(nn.Linear(n, 4)), "the encoder's body is a module"),
        (lambda n: torch.tanh, "the encoder's body is a builtin_function"),
    ],
)
def test_bodies_that_are_no_modules_in_python_are_refused(make, message):
    with pytest.raises(TypeError, match=f"network=Bodies.*{message}"):
        fit_bodies(make)


def test_error_of_a_body_names_the_network():
    class Fails(Layer):
        def forward(self, h):
            return super().forward(h[..., :1])

    with pytest.raises(RuntimeError) as caught:
        fit_bodies(Fails)
    assert "network=Bodies" in caught.value.__notes__[0]


# convolutions -------------------------------------------------------------------------

images = st.tuples(st.integers(1, 3), st.integers(1, 11), st.integers(1, 11))
stages = st.lists(st.integers(2, 4), min_size=1, max_size=3)
leads = st.lists(st.integers(1, 3), max_size=3).map(tuple)


@st.composite
def shapes(draw):
    """Return the shape of images, and those pixels that vary: at least one."""
    image_shape = draw(images)
    size = prod(image_shape)
    kept = draw(st.none() | st.sets(st.integers(0, size - 1), min_size=1))
    return image_shape, None if kept is None else np.array(sorted(kept))


def count_columns(image_shape, columns):
    return prod(image_shape) if columns is None else len(columns)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(shapes(), stages, leads, st.integers(1, 3), st.integers(1, 4))
def test_convolutions_map_images_of_any_size(shape, channels, leading, n_raw, q):
    network = Conv(channels, n_hidden=5)
    network.set_image(*shape)
    n_columns = count_columns(*shape)
    with seeded(0):
        encoder, n_outputs = network.make_encoder(n_columns)
        assert n_outputs == 5
        assert encoder(torch.randn(*leading, n_columns)).shape == (*leading, 5)
        decoder, n_outputs = network.make_decoder(q, n_raw=n_raw)
        assert n_outputs == n_raw * n_columns
        assert decoder(torch.randn(*leading, q)).shape == (*leading, n_outputs)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(shapes(), stages, st.integers(1, 2))
def test_rows_of_images_do_not_know_of_each_other(shape, channels, n_raw):
    network = Conv(channels, n_hidden=5)
    network.set_image(*shape)
    n_columns = count_columns(*shape)
    with seeded(0):
        bodies = (
            (network.make_encoder(n_columns)[0], n_columns),
            (network.make_decoder(3, n_raw=n_raw)[0], 3),
        )
        for body, n_inputs in bodies:
            body = body.double().train()
            x = torch.randn(2, 3, n_inputs, dtype=torch.float64)
            together = body(x)
            for i, j in np.ndindex(2, 3):
                torch.testing.assert_close(body(x[i, j]), together[i, j])


@settings(max_examples=25, deadline=None, derandomize=True)
@given(shapes(), stages, st.integers(0, 2), st.integers(1, 2))
def test_every_parameter_of_convolutions_gets_a_gradient(
    shape, channels, n_blocks, n_raw
):
    network = Conv(channels, n_blocks, n_hidden=5)
    network.set_image(*shape)
    with seeded(0):
        encoder, _ = network.make_encoder(count_columns(*shape))
        decoder, _ = network.make_decoder(3, n_raw=n_raw)
        for body, n_inputs in ((encoder, count_columns(*shape)), (decoder, 3)):
            body(torch.randn(9, n_inputs)).square().sum().backward()
            for name, parameter in body.named_parameters():
                assert parameter.grad is not None, name
                assert (parameter.grad != 0).any(), name


def test_columns_are_the_pixels_in_order():
    network = Conv((4,), n_hidden=3)
    columns = np.array([1, 2, 5])
    network.set_image((2, 1, 3), columns)
    grid = network.make_encoder(3)[0].grid
    shown = grid(torch.tensor([[1.0, 2.0, 3.0]]))
    assert shown.tolist() == [[[[0.0, 1.0, 2.0]], [[0.0, 0.0, 3.0]]]]
    raw = torch.arange(12.0).reshape(1, 4, 1, 3)
    # all columns of the first raw output, then all of the second
    assert grid.read(raw).tolist() == [[1.0, 2.0, 5.0, 7.0, 8.0, 11.0]]


def test_decoder_of_images_starts_at_zero_if_asked():
    network = make_network(Conv)
    body, _ = network.make_decoder(2, n_raw=3, zero=True)
    assert (body(torch.ones(4, 2)) == 0).all()
    body, _ = network.make_decoder(2, n_raw=3)
    assert (body(torch.ones(4, 2)) != 0).any()


def test_dense_weights_of_images_are_few():
    network = make_network(Conv((4,), n_hidden=8), (1, 20, 20))
    body, n_outputs = network.make_decoder(2, n_raw=10)
    assert n_outputs == 4000
    # a dense head would have 8 * 4000
    assert sum(p.numel() for p in body.parameters()) < 8 * 4000 / 4


def test_convolutions_ask_for_the_images():
    with pytest.raises(ValueError, match="set_image"):
        Conv().make_encoder(6)
    with pytest.raises(ValueError, match=r"\(2, 3, 1\).*6.*7 columns"):
        make_network(Conv).make_encoder(7)


class Brings(Network):
    """A network of one's own that gives the raw outputs itself."""

    has_outputs = True

    def make_encoder(self, n_inputs, n_copies=None):
        return nn.Sequential(nn.Linear(n_inputs, 4), nn.Tanh()), 4

    def make_decoder(self, n_inputs, n_copies=None, n_raw=1, zero=False):
        layer = nn.Linear(n_inputs, n_raw * 3, bias=False)
        if zero:
            nn.init.zeros_(layer.weight)
        return layer, n_raw * 3


@pytest.mark.parametrize("init", ["linear", "random"])
@pytest.mark.parametrize("likelihood", ["gaussian", "gaussian_mixture"])
def test_network_of_ones_own_may_bring_its_outputs(init, likelihood):
    X = np.random.default_rng(0).standard_normal((60, 3))
    params = {"network": Brings(), "init": init, "likelihood": likelihood}
    vae = VAETransformer(2, max_epochs=2, random_state=0, **params).fit(X)
    assert vae.inverse_transform(vae.transform(X)).shape == (60, 3)
    assert np.isfinite(vae.score_samples(X)).all()


class InPlace(Network):
    """A network of one's own whose first layer may overwrite its input."""

    def __init__(self, inplace=True):
        self.inplace = inplace

    def make_encoder(self, n_inputs, n_copies=None):
        first = nn.ReLU(inplace=self.inplace)
        return nn.Sequential(first, nn.Linear(n_inputs, 4), nn.Tanh()), 4

    make_decoder = make_encoder


@pytest.mark.parametrize("init", ["linear", "random"])
@pytest.mark.parametrize("batch_size", [1, 8])
def test_networks_that_overwrite_their_input_change_no_result(init, batch_size):
    X = np.random.default_rng(0).standard_normal((33, 3))
    X[::7, 1] = np.nan
    params = {"max_epochs": 2, "random_state": 0, "density": "joint", "init": init}
    params |= {"batch_size": batch_size, "early_stopping": False}
    ours, theirs = (
        VAETransformer(2, network=InPlace(inplace), **params).fit(X)
        for inplace in (True, False)
    )
    for call in (
        lambda vae: vae.transform(X),
        lambda vae: vae.score_samples(X, "evidence"),
        lambda vae: vae.score_samples(X[:5], "refined"),
        lambda vae: vae.impute(X[:8]),
        lambda vae: vae.sample(5, random_state=0),
    ):
        np.testing.assert_allclose(call(ours), call(theirs), rtol=1e-5, atol=1e-6)


def find_widths(estimator):
    return estimator.net_.module_.network.hidden_layer_sizes


@pytest.mark.parametrize(
    ("shape", "width"),
    [((100, 3), 64), ((1280, 3), 104), ((100, 50), 104), ((100, 70), 128)],
)
def test_hidden_layers_are_as_wide_as_the_table_is_large(shape, width):
    X = np.random.default_rng(0).normal(size=shape)
    vae = VAETransformer(2, density=None, max_epochs=1, random_state=0).fit(X)
    assert find_widths(vae) == (width, width)


def test_tables_with_categories_have_wide_layers():
    frame = pd.DataFrame({"number": np.arange(50.0), "letter": list("abcde") * 10})
    vae = VAETransformer(2, max_epochs=1, random_state=0)
    assert find_widths(vae.fit(frame)) == (128, 128)
    numbers = frame.assign(letter=1 / (1 + frame["number"]))
    assert find_widths(vae.fit(numbers)) == (64, 64)


def test_rows_without_weight_widen_no_layer():
    X = np.random.default_rng(0).normal(size=(1280, 3))
    weight = np.zeros(len(X))
    weight[:100] = 1
    vae = VAETransformer(2, density=None, max_epochs=1, random_state=0)
    vae.fit(X, sample_weight=weight)
    assert find_widths(vae) == (64, 64)


def test_a_stream_has_wide_layers_and_a_warm_start_those_it_had():
    X = np.random.default_rng(0).normal(size=(1280, 3))
    vae = VAETransformer(2, max_epochs=1, random_state=0).partial_fit(X[:100])
    assert find_widths(vae) == (128, 128)
    vae = VAETransformer(2, max_epochs=1, warm_start=True, random_state=0)
    before = vae.fit(X[:100]).score(X)
    vae.fit(X)
    assert find_widths(vae) == (64, 64)
    assert vae.score(X) != before


def test_detector_has_wide_layers_unless_told_otherwise():
    X = np.random.default_rng(0).normal(size=(100, 3))
    detector = VAEOutlierDetector(2, max_epochs=1, random_state=0)
    assert find_widths(detector.fit(X)) == (128, 128)
    detector.set_params(hidden_layer_sizes="auto")
    assert find_widths(detector.fit(X)) == (64, 64)


@pytest.mark.parametrize("widths", [(), (4,), (256, 256)])
def test_networks_of_a_users_own_keep_their_layers(widths):
    X = np.random.default_rng(0).normal(size=(100, 3))
    vae = VAETransformer(1, network=MLP(widths), max_epochs=1, random_state=0)
    assert vae.fit(X).net_.module_.network.hidden_layer_sizes == widths
