"""Images: layouts, types of pixels, what is refused, and a network that fits them."""

import pickle
import re

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from skvae import VAETransformer
from skvae._model._chunks import get_chunk_size
from skvae._model._cost import count_widest, count_work, measure_body
from skvae.callbacks import FreshBinarization
from skvae.latents import Gaussian
from skvae.likelihoods import Gaussian as GaussianNoise
from skvae.metrics import bits_per_dimension
from skvae.networks import MLP, Conv, Network

SHAPE = (1, 8, 8)


@pytest.fixture(scope="module")
def digits():
    """Digits as images (240, 1, 8, 8) of uint8, read-only."""
    images = load_digits().images[:240, None].astype(np.uint8)
    images.setflags(write=False)
    return images


@pytest.fixture
def make():
    """Make an estimator of small images that trains for an epoch."""

    def make(n_components=2, **params):
        params = {
            "image_shape": SHAPE,
            "network": Conv((4, 8), n_hidden=16),
            "likelihood": "gaussian",
            "max_epochs": 1,
            "n_draws": 4,
            "random_state": 0,
            **params,
        }
        return VAETransformer(n_components, **params)

    return make


@pytest.fixture(scope="module")
def stack(digits):
    """An estimator fitted to images; tests must not change it."""
    return VAETransformer(
        2,
        image_shape=SHAPE,
        network=Conv((4, 8), n_hidden=16),
        likelihood="gaussian",
        max_epochs=1,
        n_draws=4,
        random_state=0,
    ).fit(digits)


def flatten(images):
    return images.reshape(len(images), -1)


# layouts and types --------------------------------------------------------------------


def test_images_are_their_rows(stack, digits, make):
    flat = make().fit(flatten(digits))
    for method in ("transform", "score_samples", "score_features", "score"):
        expected = getattr(stack, method)(digits)
        for vae, X in ((stack, flatten(digits)), (flat, digits), (flat, digits * 1.0)):
            np.testing.assert_array_equal(getattr(vae, method)(X), expected)
    assert stack.n_features_in_ == flat.n_features_in_ == 64
    assert stack.score_features(digits).shape == (240, 64)
    assert stack.noise_variance_.shape == (64,)


def test_score_features_of_images_sum_to_the_reconstruction(stack, digits):
    np.testing.assert_allclose(
        stack.score_features(digits).sum(axis=1),
        stack.score_samples(digits, method="reconstruction"),
        rtol=1e-9,
    )


@pytest.mark.parametrize("is_flat", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64])
def test_images_come_back_as_they_were_fitted(is_flat, dtype, digits, make):
    X = digits.astype(dtype)
    vae = make().fit(flatten(X) if is_flat else X)
    shape = (64,) if is_flat else SHAPE
    Z = vae.transform(X[:7])
    for given in (X[:7], flatten(X[:7])):
        assert vae.reconstruct(given).shape == (7, *shape)
    for found in (vae.reconstruct(X[:7]), vae.inverse_transform(Z), vae.sample(7)):
        assert found.shape == (7, *shape)
        assert found.dtype == dtype


def test_bytes_are_rounded_and_cut_to_their_range(digits, make):
    X = (digits > 7).astype(np.uint8) * 255
    vae = make(likelihood="gaussian").fit(X)
    precise = make(likelihood="gaussian").fit(X.astype(float))
    Z = 4 * np.random.default_rng(0).standard_normal((50, 2))
    exact = precise.inverse_transform(Z)
    assert exact.min() < 0
    assert exact.max() > 255
    np.testing.assert_array_equal(
        vae.inverse_transform(Z), np.clip(np.rint(exact), 0, 255)
    )


def test_booleans_come_back_as_probabilities(digits, make):
    X = digits > 7
    vae = make(likelihood="auto").fit(X)
    assert type(vae.net_.module_.likelihood.single).__name__ == "Bernoulli"
    found = vae.reconstruct(X[:5])
    assert found.shape == (5, *SHAPE)
    assert found.dtype == float
    assert ((found > 0) & (found < 1)).all()


def test_lists_and_frames_are_accepted(stack, digits, make):
    expected = stack.transform(digits[:5])
    np.testing.assert_array_equal(stack.transform(digits[:5].tolist()), expected)
    frame = pd.DataFrame(flatten(digits), columns=[f"p{i}" for i in range(64)])
    found = make().fit(frame).reconstruct(frame[:5])
    assert list(found.columns) == list(frame.columns)
    assert (found.dtypes == frame.dtypes).all()
    np.testing.assert_array_equal(
        found.to_numpy(), flatten(stack.reconstruct(digits[:5]))
    )


def test_order_in_memory_does_not_matter(stack, digits):
    other = np.asfortranarray(digits[::-1])[::-1]
    np.testing.assert_array_equal(stack.transform(other), stack.transform(digits))


def test_constant_pixels_are_no_part_of_the_network(stack, digits):
    n_varying = int((digits != digits[0]).reshape(len(digits), -1).any(axis=0).sum())
    assert n_varying < 64
    assert stack.net_.module_.n_features == n_varying
    still = (digits == digits[0]).all(axis=0)
    assert (stack.reconstruct(digits)[:, still] == digits[0][still]).all()


# what scikit-learn does with estimators -----------------------------------------------


def test_images_in_a_pipeline_and_a_search(digits, make):
    X = flatten(digits)
    pipe = make_pipeline(MinMaxScaler(), make()).fit(X)
    assert pipe.inverse_transform(pipe.transform(X[:3])).shape == (3, 64)
    # whatever image_shape, mlp and conv are two networks among others
    grid = {"network": ["mlp", Conv((2,), n_hidden=4)]}
    search = GridSearchCV(make(), grid, cv=2).fit(digits)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_estimator_.reconstruct(digits[:2]).shape == (2, *SHAPE)


def test_parameters_of_the_network_can_be_searched(make):
    vae = clone(make().set_params(network__channels=(2, 2), network__n_blocks=0))
    assert vae.get_params()["network__channels"] == (2, 2)
    assert vae.image_shape == SHAPE


def test_fitted_estimators_survive_pickle_and_clone(stack, digits):
    again = pickle.loads(pickle.dumps(stack))
    np.testing.assert_array_equal(again.reconstruct(digits), stack.reconstruct(digits))
    np.testing.assert_array_equal(
        again.score_samples(digits), stack.score_samples(digits)
    )
    refitted = clone(stack).fit(digits)
    np.testing.assert_array_equal(refitted.transform(digits), stack.transform(digits))


def test_training_goes_on_in_either_layout(digits, make):
    vae = make(warm_start=True).fit(digits)
    vae.fit(flatten(digits))
    assert vae.n_iter_ == 2
    assert vae.reconstruct(digits).shape == digits.shape
    chunks = make().partial_fit(digits[:120]).partial_fit(flatten(digits[120:]))
    assert chunks.sample(3).shape == (3, *SHAPE)


def test_validation_rows_and_weights_in_either_layout(digits, make):
    weight = np.ones(200)
    weight[:50] = 2.0
    fits = [
        make().fit(X, X_val=X_val, sample_weight=weight)
        for X in (digits[:200], flatten(digits[:200]))
        for X_val in (digits[200:], flatten(digits[200:]))
    ]
    scores = [vae.score_samples(digits) for vae in fits]
    for score in scores[1:]:
        np.testing.assert_array_equal(score, scores[0])


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"network": "auto"}, "Conv"),
        ({"network": "conv"}, "Conv"),
        ({"network": "mlp"}, "MLP"),
        ({"network": "auto", "hidden_layer_sizes": ()}, "MLP"),
        ({"network": "auto", "image_shape": None}, "MLP"),
    ],
)
def test_network_of_auto(params, expected, digits, make):
    vae = make(max_epochs=0, **params).fit(flatten(digits))
    assert type(vae.net_.module_.network).__name__ == expected


def test_activation_and_dropout_reach_the_network(digits, make):
    vae = make(network="auto", activation="relu", dropout=0.2, max_epochs=0)
    body = vae.fit(digits).net_.module_.encoder
    kinds = {type(layer) for layer in body.modules()}
    assert {torch.nn.ReLU, torch.nn.Dropout} <= kinds
    assert torch.nn.SiLU not in kinds


# the start ----------------------------------------------------------------------------


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_training_starts_at_the_linear_model(likelihood, digits, make):
    X = (digits > 7).astype(np.uint8) if likelihood == "bernoulli" else digits
    params = {"likelihood": likelihood, "latent__prior": "standard", "max_epochs": 0}
    conv = make(latent=Gaussian(), early_stopping=False).set_params(**params).fit(X)
    linear = clone(conv).set_params(network=MLP(())).fit(X)
    np.testing.assert_allclose(conv.transform(X), linear.transform(X), atol=1e-5)
    np.testing.assert_allclose(
        conv.score_samples(X), linear.score_samples(X), rtol=1e-9
    )


@pytest.mark.parametrize(
    "likelihood", [GaussianNoise(noise="shared"), "gaussian_mixture", "bernoulli"]
)
def test_training_gains_on_the_linear_model(likelihood, digits, make):
    X = (digits > 7).astype(np.uint8) if likelihood == "bernoulli" else digits
    start = make(likelihood=likelihood, max_epochs=0).fit(X)
    vae = make(likelihood=likelihood, max_epochs=4).fit(X)
    assert vae.best_validation_score_ > start.best_validation_score_
    assert vae.score(X) > start.score(X)


def test_textbook_network_without_a_linear_start_trains(digits, make):
    vae = make(init="random", max_epochs=3).fit(digits)
    assert vae.loss_curve_[-1] < vae.loss_curve_[0]
    assert vae.net_.module_.decoder_head.weight.shape[0] == 0


def test_scores_of_a_row_depend_on_that_row_alone(stack, digits):
    scores = stack.score_samples(digits)
    backward = stack.score_samples(digits[::-1])[::-1]
    np.testing.assert_allclose(backward, scores, rtol=1e-10)
    for row in (0, 17):
        alone = stack.score_samples(digits[row : row + 1])
        np.testing.assert_allclose(alone, scores[row : row + 1], rtol=1e-10)


# memory -------------------------------------------------------------------------------


def test_large_images_come_in_small_chunks(make):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 255, (4, 3, 40, 30), dtype=np.uint8)
    network = Conv((8,), n_blocks=1, n_hidden=4)
    vae = make(network=network, image_shape=(3, 40, 30), max_epochs=0).fit(X)
    module = vae.net_.module_
    # 3x3 windows of the feature maps at half the size
    assert count_widest(module) == 9 * 8 * 20 * 15
    assert get_chunk_size(module, 4) == 1_000_000 // (4 * 9 * 8 * 20 * 15)
    assert count_work(module, 1) > 6 * 9 * 8 * 8 * 20 * 15


def test_bodies_are_measured_without_a_trace():
    body = torch.nn.Sequential(torch.nn.Linear(3, 9), torch.nn.Dropout())
    body[1].eval()
    state = torch.get_rng_state()
    assert measure_body(body, (1, 3), 9, "") == (9, 0)
    assert (torch.get_rng_state() == state).all()
    assert body.training
    assert not body[1].training
    assert not any(module._forward_hooks for module in body.modules())


# what is refused ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "image_shape",
    [
        (),
        (8, 8),
        (1, 1, 8, 8),
        (1, 8, 8.0),
        (1, 0, 64),
        (-1, 8, -8),
        ("a", 8, 8),
        64,
        (True, 8, 8),
        "184",
    ],
)
def test_shapes_that_are_not_three_positive_integers_are_named(
    image_shape, stack, digits, make
):
    with pytest.raises((ValueError, TypeError), match="image_shape") as caught:
        make(image_shape=image_shape).fit(digits)
    assert repr(image_shape) in str(caught.value)


def test_shape_of_other_columns_is_refused(digits, make):
    message = r"image_shape=\(1, 8, 8\).*1 \* 8 \* 8 = 64 columns.*63"
    with pytest.raises(ValueError, match=message):
        make().fit(flatten(digits)[:, :63])


def test_images_of_another_shape_are_refused(stack, digits, make):
    other = digits[:, :, :7]
    with pytest.raises(ValueError, match=r"7, 8\).*image_shape=\(1, 8, 8\)"):
        make().fit(other)
    with pytest.raises(ValueError, match=r"7, 8\).*was fitted to.*\(1, 8, 8\)"):
        stack.transform(other)
    with pytest.raises(ValueError, match=r"63 features.*64 features"):
        stack.transform(flatten(digits)[:, :63])
    with pytest.raises(ValueError, match="image_shape"):
        make().fit(digits, X_val=other)


def test_channels_last_are_told_from_other_shapes(stack, digits, make):
    last = digits.transpose(0, 2, 3, 1)
    message = re.escape("pass (n, C, H, W); use X.transpose(0, 3, 1, 2)")
    for call in (make().fit, stack.transform, stack.score_samples):
        with pytest.raises(ValueError, match=message):
            call(last)
    with pytest.raises(ValueError, match=re.escape("X[:, None]")):
        make().fit(digits[:, 0])
    wide = np.zeros((4, 1, 6, 5))
    with pytest.raises(ValueError, match="height comes before width"):
        make(image_shape=(1, 5, 6)).fit(wide)


def test_images_without_image_shape_are_shown_the_way_out(digits, make):
    message = r"dim 4.*image_shape=\(1, 8, 8\).*reshape\(len\(X\), -1\)"
    with pytest.raises(ValueError, match=message):
        make(image_shape=None, network="auto").fit(digits)
    flat = make(image_shape=None, network="mlp", max_epochs=0).fit(flatten(digits))
    with pytest.raises(ValueError, match="fitted without image_shape"):
        flat.transform(digits)
    with pytest.raises(ValueError, match="dim 3"):
        make(image_shape=None, network="auto").fit(digits[:, 0])


@pytest.mark.parametrize("network", ["conv", Conv()])
def test_convolutions_without_images_are_refused(network, digits, make):
    with pytest.raises(ValueError, match=r"network='conv'.*image_shape"):
        make(network=network, image_shape=None).fit(flatten(digits))


def test_another_shape_is_no_way_to_go_on(digits, make):
    vae = make(warm_start=True).fit(flatten(digits))
    vae.set_params(image_shape=(1, 4, 16))
    with pytest.raises(ValueError, match=r"image_shape=\(1, 4, 16\)"):
        vae.fit(flatten(digits))
    assert vae.set_params(image_shape=[1, 8, 8]).fit(flatten(digits)).n_iter_ == 2


@pytest.mark.parametrize(
    "member",
    [
        Conv(channels=()),
        Conv(channels=(0,)),
        Conv(channels=8),
        Conv(n_blocks=-1),
        Conv(n_hidden=0),
        Conv(activation="silo"),
        Conv(dropout=1.0),
    ],
)
def test_bad_parameter_of_the_network_is_named(member, digits, make):
    ((name, value),) = {
        name: value
        for name, value in member.get_params().items()
        if value != Conv().get_params()[name]
    }.items()
    shown = re.escape(f"Conv({name}={value!r})")
    with pytest.raises((ValueError, TypeError), match=shown):
        make(network=member).fit(digits)


class Wrong(Network):
    """Bodies that are one unit wider than they say."""

    def __init__(self, side="encoder", has_outputs=False):
        self.side = side
        self.has_outputs = has_outputs

    def make_encoder(self, n_inputs, n_copies=None):
        return torch.nn.Linear(n_inputs, 5 + (self.side == "encoder")), 5

    def make_decoder(self, n_inputs, n_copies=None, n_raw=1, zero=False):
        return torch.nn.Linear(n_inputs, 5 + (self.side == "decoder")), 5


@pytest.mark.parametrize("side", ["encoder", "decoder"])
def test_body_of_the_wrong_width_is_refused_with_the_right_one(side, X, quick):
    message = rf"{side}'s body.*6\), but the last.*must be 5.*make_{side} returned"
    with pytest.raises(ValueError, match=message):
        quick(network=Wrong(side)).fit(X)


def test_outputs_of_the_wrong_width_are_refused_with_the_right_one(X, quick):
    message = r"decoder's body.*must be 6, n_raw \* n_features = 1 \* 6"
    with pytest.raises(ValueError, match=message):
        quick(network=Wrong("none", has_outputs=True), likelihood="gaussian").fit(X)


# bits ---------------------------------------------------------------------------------


def test_bits_per_dimension_are_nats_by_columns_and_log_2(stack, digits):
    scores = stack.score_samples(digits)
    bits = bits_per_dimension(scores, 64)
    np.testing.assert_allclose(bits, -scores / (64 * np.log(2)), rtol=1e-12)
    assert bits_per_dimension(stack.score(digits), 64) == pytest.approx(bits.mean())
    # a byte of a uniform distribution on 256 values
    assert bits_per_dimension(-10 * np.log(256), 10) == pytest.approx(8)
    assert isinstance(bits_per_dimension(np.float32(-1), 1), float)


@pytest.mark.parametrize("n_features", [0, -1, 2.5, True, None])
def test_number_of_dimensions_is_checked(n_features):
    with pytest.raises((ValueError, TypeError), match=re.escape(repr(n_features))):
        bits_per_dimension(-1.0, n_features)


def test_codes_of_categories_are_no_images_for_convolutions(make, digits):
    X = digits // 6
    with pytest.raises(ValueError, match=r"likelihood=Categorical.*network='mlp'"):
        make(likelihood="categorical").fit(X)
    vae = make(likelihood="categorical", network="mlp").fit(X)
    assert vae.reconstruct(X[:2]).shape == (2, *SHAPE)


@pytest.mark.parametrize("early_stopping", [True, False])
def test_fresh_binarization_leaves_x_alone(make, digits, early_stopping):
    """The rows of a float32 table are not copied, and must not be drawn anew."""
    X = (digits > 7).astype(np.float32)
    before = X.copy()
    vae = make(
        likelihood="bernoulli",
        early_stopping=early_stopping,
        net_callbacks=[FreshBinarization(digits / 16)],
    )
    vae.fit(X)
    np.testing.assert_array_equal(X, before)
    vae.partial_fit(X)
    np.testing.assert_array_equal(X, before)


def test_fresh_binarization_trains_on_its_own_draws(make, digits):
    X = (digits > 7).astype(np.float32)
    params = {"likelihood": "bernoulli", "early_stopping": False, "max_epochs": 5}
    zeros = FreshBinarization(np.zeros_like(X))
    dark = make(**params, net_callbacks=[zeros]).fit(X)
    other = make(**params).fit(X)
    assert dark.reconstruct(X).mean() < 0.8 * other.reconstruct(X).mean()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: 255 * p, "probabilities has the value .*0 to 1"),
        (lambda p: np.nan * p, "probabilities has the value nan"),
        (lambda p: p[:5], "probabilities has the shape"),
        (lambda p: 0.5, "probabilities has the shape"),
    ],
)
def test_fresh_binarization_refuses_what_are_no_probabilities(
    make, digits, change, message
):
    fresh = FreshBinarization(change(digits / 16))
    vae = make(likelihood="bernoulli", net_callbacks=[fresh])
    with pytest.raises(ValueError, match=message):
        vae.fit(digits > 7)


def test_fresh_binarization_takes_a_data_frame(make, digits):
    levels = (digits / 16).reshape(len(digits), -1)
    X = (levels > 0.4).astype(np.uint8)
    params = {"likelihood": "bernoulli", "network": "mlp"}
    one, other = (
        make(**params, net_callbacks=[FreshBinarization(p)]).fit(X)
        for p in (levels, pd.DataFrame(levels))
    )
    np.testing.assert_array_equal(one.score_samples(X), other.score_samples(X))


@pytest.mark.parametrize("density", ["after", "joint"])
@pytest.mark.parametrize("n_samples", [12, 13, 14])
def test_last_batches_of_one_image_are_trained_on(make, digits, density, n_samples):
    params = {"likelihood": "auto", "density": density, "early_stopping": False}
    vae = make(batch_size=3, **params).fit(digits[:n_samples])
    assert np.isfinite(vae.score_samples(digits[:1])).all()
