"""Tables of several kinds of column."""

import numpy as np
import pandas as pd
import pytest
import torch
from covering import cover
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from skvae import EffectiveSampleSizeWarning, VAETransformer
from skvae._columns import check_support
from skvae._utils._comparison import describe_meaning
from skvae.latents import LATENTS, Gaussian
from skvae.likelihoods import (
    Bernoulli,
    Categorical,
    GaussianMixture,
    Ordinal,
    PerColumn,
    Poisson,
    StudentT,
)
from skvae.likelihoods import Gaussian as GaussianNoise
from skvae.networks import MLP

pytestmark = pytest.mark.filterwarnings("ignore::skvae.UnusedComponentsWarning")

N = 400


SMALL = {"hidden_layer_sizes": (16,), "max_epochs": 15, "lr": 0.01, "random_state": 0}


def make_table(n_samples=N, seed=0, missing_share=0.0):
    """Return a table of all kinds of column, driven by one factor."""
    generator = np.random.default_rng(seed)
    z = generator.standard_normal(n_samples)
    levels = np.array(["red", "green", "blue"])
    shift = np.column_stack([z, -z, 0 * z]) + generator.gumbel(size=(n_samples, 3))
    grades = np.array(["low", "mid", "high"])
    frame = pd.DataFrame(
        {
            "height": 170 + 8 * z + 4 * generator.standard_normal(n_samples),
            "visits": generator.poisson(np.exp(1 + 0.5 * z)),
            "smokes": generator.random(n_samples) < 1 / (1 + np.exp(-2 * z)),
            "colour": levels[shift.argmax(axis=1)],
            "grade": pd.Categorical.from_codes(
                np.digitize(
                    z + 0.3 * generator.standard_normal(n_samples), [-0.5, 0.7]
                ),
                grades,
                ordered=True,
            ),
        }
    )
    if missing_share:
        gone = generator.random(frame.shape) < missing_share
        frame = frame.astype({"visits": "Int64", "smokes": "boolean"}).mask(gone)
    return frame


@pytest.fixture(scope="module")
def fitted():
    frame = make_table()
    return VAETransformer(2, **SMALL).fit(frame), frame


@pytest.fixture(scope="module")
def with_holes():
    frame = make_table(missing_share=0.2)
    return VAETransformer(2, **SMALL).fit(frame), frame


# the likelihood -----------------------------------------------------------------------


def make_members():
    """Return a likelihood of five columns, and rows in its support."""
    generator = np.random.default_rng(0)
    x = np.column_stack(
        [
            generator.standard_normal(50),
            generator.integers(0, 3, 50),
            generator.poisson(2, 50),
            generator.integers(0, 2, 50),
            generator.standard_normal(50),
        ]
    ).astype(float)
    members = [StudentT(), Categorical(), Poisson(), Bernoulli()]
    likelihood = PerColumn(members, [[0, 4], [1], [2], [3]])
    likelihood.adapt(x)
    return likelihood, torch.as_tensor(x)


def make_inputs(likelihood, n=50):
    generator = torch.Generator().manual_seed(0)
    shapes = (
        (n, *likelihood.raw_shape(5)),
        likelihood.free_shape(5),
        (n, *likelihood.link.offset_shape(5)),
    )
    inputs = [torch.randn(s, generator=generator).double() for s in shapes]
    return [*inputs, torch.ones(5).double()]


def test_log_prob_is_that_of_every_member_in_its_columns():
    likelihood, x = make_members()
    raw, free, offset, log_range = make_inputs(likelihood)
    distribution = likelihood(raw, free, offset, log_range)
    log_prob = distribution.log_prob(x)
    assert log_prob.shape == (50, 5)
    begin = {"raw": 0, "free": 0, "offset": 0}
    for member, columns in likelihood.list_groups():
        n = len(columns)
        shapes = {
            "raw": (member.n_raw, n),
            "free": member.free_shape(n),
            "offset": member.link.offset_shape(n),
        }
        parts = []
        for name, tensor in (("raw", raw), ("free", free), ("offset", offset)):
            shape = shapes[name]
            size = int(np.prod(shape))
            part = tensor[..., begin[name] : begin[name] + size]
            parts.append(part.unflatten(-1, shape))
            begin[name] += size
        alone = member(*parts, log_range[columns])
        torch.testing.assert_close(log_prob[:, columns], alone.log_prob(x[:, columns]))
        torch.testing.assert_close(distribution.mean[:, columns], alone.mean)
        torch.testing.assert_close(distribution.variance[:, columns], alone.variance)
    assert begin == {
        "raw": raw.shape[-1],
        "free": free.shape[-1],
        "offset": offset.shape[-1],
    }


def test_one_group_of_all_columns_is_its_member():
    member = StudentT()
    likelihood = PerColumn.cover(member, 4)
    assert likelihood.single is member
    assert not likelihood.is_mixed
    raw, offset = torch.randn(7, 1, 4), torch.randn(7, 4)
    free, log_range = torch.zeros(member.free_shape(4)), torch.ones(4)
    distribution = likelihood(raw, free, offset, log_range)
    assert type(distribution) is type(member(raw, free, offset, log_range))
    assert likelihood.raw_shape(4) == (1, 4)
    assert likelihood.free_shape(4) == member.free_shape(4)
    assert likelihood.link.is_scaled


def test_columns_of_one_group_may_be_out_of_order():
    likelihood = PerColumn([Bernoulli()], [[2, 0, 1]])
    assert likelihood.single is None
    raw, offset = torch.tensor([[1.0, 2.0, 3.0]]), torch.zeros(1, 3)
    distribution = likelihood(raw, torch.zeros(0), offset, torch.ones(3))
    expected = torch.sigmoid(torch.tensor([[2.0, 3.0, 1.0]]))
    torch.testing.assert_close(distribution.mean, expected)


def test_draws_are_in_the_support():
    likelihood, _ = make_members()
    distribution = likelihood(*make_inputs(likelihood))
    drawn = distribution.sample((20,))
    assert drawn.shape == (20, 50, 5)
    check_support(likelihood, drawn.flatten(0, 1).numpy(), None, slice(None))
    drawn[3, 4, 3] = 7
    with pytest.raises(ValueError, match=r"Column 3 has the value 7.*Bernoulli"):
        check_support(likelihood, drawn.flatten(0, 1).numpy(), None, slice(None))


def test_inputs_tell_their_columns():
    likelihood, x = make_members()
    columns = likelihood.link.get_input_columns(5)
    u = likelihood.link.represent(x)
    assert u.shape == (50, likelihood.link.count_inputs(5)) == (50, len(columns))
    for column in range(5):
        changed = x.clone()
        changed[:, column] = x[:, column].flip(0)
        moved = (likelihood.link.represent(changed) != u).any(dim=0)
        assert set(columns[moved.numpy()]) == {column}


def test_restricted_likelihood_has_the_columns_that_are_left():
    likelihood, _ = make_members()
    kept = likelihood.restrict(np.array([True, False, True, True, True]))
    found = {type(m).__name__: list(c) for m, c in kept.list_groups()}
    assert found == {"StudentT": [0, 3], "Poisson": [1], "Bernoulli": [2]}
    assert isinstance(kept.list_members()[1], Poisson)


# fitted -------------------------------------------------------------------------------


def test_kinds_have_their_likelihoods(fitted):
    vae, _ = fitted
    assert vae.columns_.likelihoods == [
        "GaussianMixture",
        "GaussianMixture",
        "Bernoulli",
        "Categorical",
        "Categorical",
    ]


def test_all_rows_come_back_as_they_were_given(fitted):
    vae, frame = fitted
    for found in (vae.reconstruct(frame), vae.sample(50, random_state=0)):
        assert list(found.columns) == list(frame.columns)
        assert (found.dtypes == frame.dtypes).all()
        assert set(found["colour"]) <= {"red", "green", "blue"}
    assert vae.reconstruct(frame).index.equals(frame.index)


def test_latent_finds_the_factor(fitted):
    vae, frame = fitted
    Z = vae.transform(frame)
    height = frame["height"].to_numpy()
    correlation = [abs(np.corrcoef(z, height)[0, 1]) for z in Z.T]
    assert max(correlation) > 0.7


def test_scores_add_up(fitted):
    vae, frame = fitted
    by_cell = vae.score_features(frame)
    np.testing.assert_allclose(
        by_cell.sum(axis=1), vae.score_samples(frame, "reconstruction"), atol=1e-9
    )
    # probabilities of levels
    assert (by_cell.iloc[:, 2:] <= 0).all(axis=None)
    evidence = vae.score_samples(frame, "evidence")
    assert (evidence >= vae.score_samples(frame)).all()


def test_columns_together_are_likelier_than_apart(fitted):
    vae, _ = fitted
    test = make_table(1000, seed=1)
    # what a table of independent columns would have, at best
    apart = 0.0
    for name in ("smokes", "colour", "grade"):
        share = test[name].value_counts(normalize=True)
        apart += (share * np.log(share)).sum()
    numbers = test[["height", "visits"]].to_numpy(float)
    train = make_table()[["height", "visits"]].to_numpy(float)
    from sklearn.mixture import GaussianMixture as Mixture

    for column in range(2):
        mixture = Mixture(4, random_state=0).fit(train[:, [column]])
        apart += mixture.score(numbers[:, [column]])
    assert vae.score(test) > apart + 0.5


def test_rescaled_number_moves_scores_by_its_logarithm(fitted):
    vae, frame = fitted
    other = frame.assign(height=frame["height"] / 100)
    again = VAETransformer(2, **SMALL).fit(other)
    gain = again.score_samples(other) - vae.score_samples(frame)
    np.testing.assert_allclose(gain, np.log(100), atol=1e-3)


def test_order_of_columns_does_not_matter_to_their_start():
    frame = make_table()
    start = {"max_epochs": 0, "random_state": 0, "early_stopping": False}
    one = VAETransformer(2, **start).fit(frame)
    turned = frame[list(frame.columns)[::-1]]
    other = VAETransformer(2, **start).fit(turned)
    a, b = one.posterior(frame), other.posterior(turned)
    np.testing.assert_allclose(np.abs(a[0]), np.abs(b[0]), atol=1e-3)


@pytest.mark.parametrize(
    ("latent", "init", "missing_share"),
    cover(
        [*LATENTS, Gaussian(prior="vamp", n_mixture=4)],
        ["linear", "random"],
        [0.0, 0.2],
        strength=2,
    ),
)
def test_all_latents_take_several_kinds(latent, init, missing_share):
    frame = make_table(120, missing_share=missing_share)
    vae = VAETransformer(
        4,
        latent=latent,
        init=init,
        network=MLP((8,)),
        max_epochs=2,
        n_draws=4,
        random_state=0,
    ).fit(frame)
    assert np.isfinite(vae.loss_curve_).all()
    assert np.isfinite(vae.score(frame))
    assert vae.sample(5, random_state=0).shape == (5, 5)


def test_linear_network_takes_several_kinds():
    frame = make_table(missing_share=0.1)
    vae = VAETransformer(1, hidden_layer_sizes=(), random_state=0).fit(frame)
    assert vae.columns_.likelihoods[0] == "Gaussian"
    assert np.isfinite(vae.score(frame))


def test_dict_names_the_likelihoods_of_some():
    frame = make_table()
    vae = VAETransformer(
        2,
        likelihood={"visits": "poisson", "grade": Ordinal(), "height": "student_t"},
        **SMALL | {"max_epochs": 3},
    ).fit(frame)
    assert vae.columns_.likelihoods == [
        "StudentT",
        "Poisson",
        "Bernoulli",
        "Categorical",
        "Ordinal",
    ]
    assert np.isfinite(vae.score(frame))


def test_categories_are_no_numbers():
    with pytest.raises(ValueError, match=r"'colour' holds categories.*'categorical'"):
        VAETransformer(likelihood={"colour": "gaussian"}).fit(make_table())


def test_members_that_print_alike_but_differ_are_kept_apart():
    # scikit-learn shortens what it prints of them
    one, other = (Categorical((2,) * 40 + (k,)) for k in (3, 4))
    assert repr(one) == repr(other)
    assert describe_meaning(one) != describe_meaning(other)
    assert describe_meaning(one) == describe_meaning(clone(one))


def test_likelihood_of_numbers_for_a_mixed_table_names_the_way_out():
    with pytest.raises(ValueError, match="by a dict of columns and likelihoods"):
        VAETransformer(likelihood="gaussian").fit(make_table())


def test_joint_noise_is_for_all_columns_or_none():
    noise = GaussianNoise(noise="low_rank")
    with pytest.raises(ValueError, match="models columns jointly"):
        VAETransformer(likelihood={"height": noise}).fit(make_table())


def test_unsupported_value_names_column_and_its_likelihood():
    frame = make_table()
    frame.loc[3, "visits"] = -2
    with pytest.raises(ValueError, match=r"'visits' has the value -2.*Poisson"):
        VAETransformer(likelihood={"visits": "poisson"}).fit(frame)


def test_constant_column_beside_several_kinds():
    frame = make_table().assign(same=3.5)
    vae = VAETransformer(2, **SMALL | {"max_epochs": 3}).fit(frame)
    assert (vae.sample(9, random_state=0)["same"] == 3.5).all()
    assert vae.score_features(frame).shape == (N, 6)


def test_searches_over_tables_of_several_kinds():
    vae = VAETransformer(**SMALL | {"max_epochs": 2})
    search = GridSearchCV(vae, {"n_components": [1, 2]}, cv=2)
    search.fit(make_table(200))
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


# missing cells ------------------------------------------------------------------------


def test_filled_rows_keep_kinds_and_what_is_observed(with_holes):
    vae, frame = with_holes
    for filled in (vae.impute(frame), vae.impute(frame, random_state=0)):
        assert (filled.dtypes == frame.dtypes).all()
        assert not filled.isna().any().any()
        observed = frame.notna()
        assert filled.where(observed).equals(frame.where(observed))
        assert filled.index.equals(frame.index)


def test_filled_cells_are_better_than_the_most_frequent(with_holes):
    vae, frame = with_holes
    truth = make_table()
    filled = vae.impute(frame)
    gone = frame.isna()
    for name in ("smokes", "grade"):
        is_right = filled[name].astype(str) == truth[name].astype(str)
        share = truth[name].value_counts(normalize=True).max()
        assert is_right[gone[name]].mean() > share
    rest = (filled["height"] - truth["height"])[gone["height"]]
    assert rest.std() < 0.9 * truth["height"].std()


def test_given_category_moves_the_rest(fitted):
    vae, frame = fitted
    drawn = vae.sample(2000, given={"smokes": True}, random_state=0)
    assert drawn["smokes"].all()
    means = frame.groupby("smokes")["height"].mean()
    assert abs(drawn["height"].mean() - means[True]) < 1.0
    by_colour = vae.sample(
        2000, given={"colour": "red", "grade": "high"}, random_state=0
    )
    assert set(by_colour["colour"]) == {"red"}
    assert by_colour["height"].mean() > frame["height"].mean()
    assert (by_colour.dtypes == frame.dtypes).all()


def test_rare_values_give_a_warning(fitted):
    _, frame = fitted
    # columns that are independent given z agree with few of its values
    vae = VAETransformer(2, density="joint", max_epochs=20, random_state=0).fit(frame)
    given = {"height": 145.0, "visits": 80, "grade": "high"}
    with pytest.warns(EffectiveSampleSizeWarning, match="effective draws"):
        vae.sample(1000, given=given, random_state=0)


def test_given_refuses_levels_that_are_not_known(fitted):
    vae, _ = fitted
    with pytest.raises(ValueError, match=r"'colour'.*'violet'"):
        vae.sample(given={"colour": "violet"})


def test_given_refuses_fractions_of_integers(fitted):
    vae, _ = fitted
    with pytest.raises(ValueError, match=r"'visits' cannot be 2\.5.*integer"):
        vae.sample(given={"visits": 2.5})
    assert (vae.sample(3, given={"visits": 2.0}, random_state=0)["visits"] == 2).all()


def test_numbers_alone_have_one_likelihood():
    frame = make_table()[["height", "visits"]]
    vae = VAETransformer(2, max_epochs=1, random_state=0).fit(frame)
    (member,) = vae.net_.module_.likelihood.members
    assert isinstance(member, GaussianMixture)
