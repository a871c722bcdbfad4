"""Sparse tables: the numbers of the dense ones, from rows that are dense in turn."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils import get_tags

import skvae
from skvae import VAEOutlierDetector, VAETransformer
from skvae._columns._observed import find_range
from skvae._columns._sparse import SparseRows, join_tables
from skvae._utils._missing import fill_at_random
from skvae._utils._warnings import UnusedComponentsWarning
from skvae.latents import Categorical
from skvae.likelihoods import Likelihood, ZeroInflated

N, D = 90, 8
SPARSE_LIKELIHOODS = ["poisson", "negative_binomial", "zero_inflated", "bernoulli"]


def make_counts(n=N, d=D, seed=0):
    generator = np.random.default_rng(seed)
    z, loadings = generator.normal(size=(n, 2)), generator.normal(size=(2, d))
    return generator.poisson(np.exp(0.8 * z @ loadings - 1.2)).astype(float)


def make_table(likelihood, *args, **params):
    X = make_counts(*args, **params)
    return np.minimum(X, 1) if likelihood == "bernoulli" else X


def make_vae(likelihood="poisson", **params):
    settings = {"max_epochs": 3, "random_state": 0} | params
    return VAETransformer(2, likelihood=likelihood, **settings)


@pytest.fixture(scope="module")
def pair():
    X = make_counts()
    return make_vae().fit(X), make_vae().fit(sp.csr_array(X))


def assert_equal_fits(dense, other, X):
    np.testing.assert_array_equal(other.score_samples(X), dense.score_samples(X))
    np.testing.assert_array_equal(other.transform(X), dense.transform(X))
    assert other.validation_scores_ == dense.validation_scores_


# rows ---------------------------------------------------------------------------------


@pytest.fixture
def rows():
    X = make_counts()
    X[3], X[:, 2], X[5, 1], X[7, 1] = 0, 0, np.nan, np.nan
    return X, SparseRows.from_matrix(sp.csr_array(X))


@pytest.mark.parametrize(
    "key",
    [
        slice(None),
        slice(3, 17),
        slice(80, 200),
        slice(50, 10),
        slice(None, None, 7),
        slice(-5, None),
        np.array([4, 0, 4, 89]),
        np.array([], dtype=int),
        np.arange(N) % 3 == 0,
        5,
        -1,
        (0, np.array([1, 2])),
        (slice(None), 1),
        (slice(2, 9), 1),
        (slice(None), -1),
        (slice(2, 9), np.int64(-D)),
    ],
    ids=str,
)
def test_rows_are_those_of_the_array(rows, key):
    X, lazy = rows
    np.testing.assert_array_equal(lazy[key], X[key])
    assert lazy[key].dtype == X.dtype


@pytest.mark.parametrize("column", [D, -D - 1])
def test_columns_that_do_not_exist_are_refused(rows, column):
    with pytest.raises(IndexError):
        rows[1][:, column]


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float32])
def test_columns_and_range_are_those_of_arrays_of_any_dtype(dtype):
    X = make_counts().astype(dtype)
    X[:, 0], X[:, 1] = 0, 1
    lazy = SparseRows.from_matrix(sp.csr_array(X))
    np.testing.assert_array_equal(np.array(list(lazy.iterate_columns())), X.T)
    low, high = lazy.find_range()
    np.testing.assert_array_equal(low, X.min(axis=0))
    np.testing.assert_array_equal(high, X.max(axis=0))
    assert lazy[:].dtype == dtype
    assert low.dtype == high.dtype == np.float64


def test_range_of_a_column_without_values_is_that_of_an_array():
    X = make_counts()
    X[:, 1], X[1:, 2] = np.nan, np.nan
    lazy = SparseRows.from_matrix(sp.csr_array(X))
    np.testing.assert_array_equal(find_range(lazy), find_range(X))
    np.testing.assert_array_equal(fill_at_random(lazy)[:], fill_at_random(X))


def test_selected_rows_stay_sparse(rows):
    X, lazy = rows
    chosen = np.array([0, 3, 5, 80])
    part = lazy.select(chosen)
    assert isinstance(part, SparseRows)
    np.testing.assert_array_equal(part[:], X[chosen])
    np.testing.assert_array_equal(join_tables(part, lazy)[:], np.r_[X[chosen], X])
    np.testing.assert_array_equal(join_tables(X, part)[:], np.r_[X, X[chosen]])


def test_rows_do_not_become_an_array_as_a_whole(rows):
    with pytest.raises(TypeError, match="as a whole"):
        np.asarray(rows[1])


def test_columns_values_and_range_are_those_of_the_array(rows):
    X, lazy = rows
    np.testing.assert_array_equal(np.array(list(lazy.iterate_columns())), X.T)
    values = np.unique(lazy.list_values(np.array([1, 2])))
    np.testing.assert_array_equal(values, np.unique(X[:, 1:3]))
    low, high = lazy.find_range()
    np.testing.assert_array_equal(low, np.nanmin(X, axis=0))
    np.testing.assert_array_equal(high, np.nanmax(X, axis=0))
    assert lazy.has_missing()
    assert lazy.count_distinct() == len(np.unique(X, axis=0))


def test_missing_cells_are_filled_as_those_of_the_array(rows):
    X, lazy = rows
    np.testing.assert_array_equal(fill_at_random(lazy)[:], fill_at_random(X))


def test_duplicates_are_added_up_and_the_table_of_the_user_stays(pair):
    row, column = np.array([0, 0, 1, 1]), np.array([2, 2, 0, 3])
    X = sp.csr_array((np.ones(4), column, [0, 2, 4]), shape=(2, D))
    before = X.data.copy(), X.indices.copy()
    scores = pair[1].score_samples(X)
    np.testing.assert_array_equal(X.data, before[0])
    np.testing.assert_array_equal(X.indices, before[1])
    np.testing.assert_array_equal(scores, pair[1].score_samples(X.toarray()))
    pairs = sp.coo_array((np.ones(4), (row, column)), shape=(2, D))
    np.testing.assert_array_equal(scores, pair[1].score_samples(pairs))


# fits ---------------------------------------------------------------------------------


@pytest.mark.parametrize("likelihood", SPARSE_LIKELIHOODS)
@pytest.mark.parametrize("shape", [(N, D), (40, 530)], ids=["folds", "wide"])
def test_fit_of_a_sparse_table_is_that_of_the_dense_one(likelihood, shape):
    X = make_table(likelihood, *shape)
    dense = make_vae(likelihood).fit(X)
    assert_equal_fits(dense, make_vae(likelihood).fit(sp.csr_array(X)), X)


@pytest.mark.parametrize(
    "params",
    [
        {"init": "random"},
        {"n_components": "auto"},
        {"latent": "categorical"},
        {"latent": Categorical(3), "n_components": 3},
        {"n_ensemble": 2},
        {"early_stopping": False},
        {"hidden_layer_sizes": ()},
        {"likelihood": {0: "bernoulli"}},
        {"likelihood": ZeroInflated("negative_binomial")},
        {"objective": "iwae"},
        {"image_shape": (1, 2, 4), "network": "conv"},
    ],
    ids=str,
)
def test_fits_of_other_settings_are_those_of_the_dense_table(params):
    X = make_counts()
    X[:, 0] = np.minimum(X[:, 0], 1)
    if isinstance(params.get("likelihood"), dict):
        # 'auto' of a dense table are other likelihoods
        params = {"likelihood": dict.fromkeys(range(D), "poisson") | {0: "bernoulli"}}
    settings = {"likelihood": "poisson"} | params
    n_components = settings.pop("n_components", 2)
    vae = VAETransformer(n_components, max_epochs=2, random_state=0, **settings)
    dense, other = clone(vae).fit(X), vae.fit(sp.csr_array(X))
    assert_equal_fits(dense, other, X)


def test_weights_missing_cells_and_held_out_rows_count_as_in_the_dense_table():
    X = make_counts()
    X[::9, 1] = np.nan
    weight = np.r_[np.zeros(10), np.ones(40), np.full(40, 2.0)]
    X_val = make_counts(30, seed=1)
    for params in {"sample_weight": weight}, {"X_val": X_val}, {}:
        dense = make_vae().fit(X, **params)
        if "X_val" in params:
            params = {"X_val": sp.csc_array(X_val)}
        other = make_vae().fit(sp.csr_array(X), **params)
        assert_equal_fits(dense, other, X)
        given = sp.csr_array(X)
        for method in "score_samples", "impute", "transform":
            expected = getattr(dense, method)(X)
            np.testing.assert_array_equal(getattr(other, method)(X), expected)
            np.testing.assert_array_equal(getattr(other, method)(given), expected)
    both = make_vae().fit(sp.csr_array(X), X_val=X_val)
    assert np.isfinite(both.best_validation_score_)


def test_streams_of_sparse_chunks_are_those_of_dense_ones():
    chunks = [make_counts(seed=seed) for seed in range(3)]
    dense, other = make_vae(), make_vae()
    for X in chunks:
        dense.partial_fit(X)
        other.partial_fit(sp.csr_array(X))
    assert_equal_fits(dense, other, chunks[0])


def test_warm_start_goes_on_with_the_form_of_either_kind():
    X = make_counts()
    fits = []
    for first, second in ((X, X), (sp.csr_array(X), X), (X, sp.csr_array(X))):
        vae = make_vae(warm_start=True).fit(first)
        fits.append(vae.fit(second))
    assert_equal_fits(fits[0], fits[1], X)
    assert_equal_fits(fits[0], fits[2], X)


def test_a_table_larger_than_memory_allows_has_other_starts_and_the_same_form(
    monkeypatch,
):
    from skvae._training import _fit

    monkeypatch.setattr(_fit, "_MAX_INIT_CELLS", 40 * D)
    X = make_counts(400)
    vae = make_vae(early_stopping=False, network="mlp")
    assert_equal_fits(clone(vae).fit(X), vae.fit(sp.csr_array(X)), X)


# methods ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        sp.csr_array,
        sp.csc_array,
        sp.coo_array,
        sp.csr_matrix,
        sp.csc_matrix,
        sp.coo_matrix,
        sp.lil_array,
        sp.dok_array,
        lambda X: sp.csr_array(X.astype(np.int64)),
        lambda X: sp.csr_array(X.astype(np.float32)),
        lambda X: sp.csr_array(X.astype(np.uint8)),
        lambda X: pd.DataFrame.sparse.from_spmatrix(sp.csr_array(X)),
    ],
    ids=[
        *("csr_array", "csc_array", "coo_array", "csr_matrix", "csc_matrix"),
        *("coo_matrix", "lil", "dok", "int64", "float32", "uint8", "frame"),
    ],
)
def test_methods_give_the_results_of_the_dense_table(pair, make):
    X, (dense, other) = make_counts(seed=1)[:20], pair
    given = make(X)
    for method in (
        *("transform", "score_samples", "score_features", "reconstruct", "impute"),
        *("score", "posterior"),
    ):
        expected = getattr(dense, method)(X)
        found = getattr(other, method)(given)
        np.testing.assert_array_equal(found, expected)
        assert not sp.issparse(found)
    assert type(other.sample(3, random_state=0)) is np.ndarray
    np.testing.assert_array_equal(
        other.sample(3, random_state=0, given={0: 2}),
        dense.sample(3, random_state=0, given={0: 2}),
    )


def test_indices_of_64_bits_are_read(pair):
    X = sp.csr_array(make_counts())
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    vae = make_vae().fit(X)
    np.testing.assert_array_equal(vae.transform(X), pair[0].transform(X.toarray()))


def test_explicit_zeros_empty_rows_and_columns_are_zeros():
    X = make_counts()
    X[4], X[:, 3] = 0, 0
    given = sp.csr_array(X)
    stored = given.copy()
    stored.data[::3] = 0
    for table in given, stored:
        dense = make_vae().fit(table.toarray())
        assert_equal_fits(dense, make_vae().fit(table), table.toarray())
    with pytest.warns(UnusedComponentsWarning):
        nothing = make_vae().fit(sp.csr_array((N, D)))
    assert np.isfinite(nothing.score_samples(np.zeros((2, D)))).all()


def test_stored_nan_is_imputed_in_a_dense_table(pair):
    X = make_counts()[:10]
    X[2, 3] = np.nan
    filled = pair[1].impute(sp.csr_array(X))
    np.testing.assert_array_equal(filled, pair[0].impute(X))
    np.testing.assert_array_equal(filled[~np.isnan(X)], X[~np.isnan(X)])


def test_pickles_of_sparse_fits_score_alike(pair):
    X = sp.csr_array(make_counts())
    again = pickle.loads(pickle.dumps(pair[1]))
    np.testing.assert_array_equal(again.score_samples(X), pair[0].score_samples(X))


def test_frames_of_sparse_columns_come_back_dense_with_their_names():
    X = make_counts()
    names = [f"gene{j}" for j in range(D)]
    frame = pd.DataFrame.sparse.from_spmatrix(
        sp.csr_array(X.astype(np.int64)), columns=names
    )
    vae = make_vae().fit(frame)
    assert list(vae.feature_names_in_) == names
    found = vae.reconstruct(frame)
    assert list(found.columns) == names
    assert set(found.dtypes) == {np.dtype(np.int64)}
    with pytest.raises(ValueError, match="feature names"):
        vae.transform(frame[names[::-1]])


# the detector -------------------------------------------------------------------------


@pytest.mark.parametrize("likelihood", SPARSE_LIKELIHOODS)
@pytest.mark.parametrize("contamination", ["auto", 0.1])
def test_detector_of_a_sparse_table_is_that_of_the_dense_one(likelihood, contamination):
    X = make_table(likelihood)
    settings = {"likelihood": likelihood, "max_epochs": 2, "random_state": 0}
    detector = VAEOutlierDetector(2, contamination=contamination, **settings)
    dense, given = clone(detector).fit(X), sp.csr_array(X)
    detector.fit(given)
    np.testing.assert_array_equal(detector.trimmed_, dense.trimmed_)
    assert detector.offset_ == dense.offset_
    for method in "score_samples", "predict", "p_values", "explain":
        np.testing.assert_array_equal(
            getattr(detector, method)(given), getattr(dense, method)(X)
        )
    np.testing.assert_array_equal(detector.usual_scores_, dense.usual_scores_)


def test_detector_of_a_stream_keeps_a_sample_that_is_sparse():
    detector = VAEOutlierDetector(2, likelihood="poisson", random_state=0)
    dense = clone(detector)
    for seed in range(2):
        X = make_counts(seed=seed)
        detector.partial_fit(sp.csr_array(X))
        dense.partial_fit(X)
    assert detector.offset_ == dense.offset_
    assert isinstance(detector._stream.rows, SparseRows)
    again = pickle.loads(pickle.dumps(detector)).partial_fit(X)
    assert again.offset_ == dense.partial_fit(X).offset_


def test_files_of_streams_need_no_trust_in_scipy(tmp_path):
    pytest.importorskip("safetensors")
    X = sp.csr_array(make_counts())
    detector = VAEOutlierDetector(2, likelihood="poisson", random_state=0)
    detector.partial_fit(X)
    skvae.save(detector, tmp_path / "stream.skvae")
    again = skvae.load(tmp_path / "stream.skvae")
    np.testing.assert_array_equal(again._stream.rows[:], X.toarray())
    assert again.partial_fit(X).offset_ == detector.partial_fit(X).offset_


# 'auto', refusals ---------------------------------------------------------------------


@pytest.mark.parametrize("estimator", [VAETransformer, VAEOutlierDetector])
@pytest.mark.parametrize(
    ("likelihood", "most"), [("bernoulli", 1), ("negative_binomial", 9)]
)
def test_auto_is_decided_by_the_stored_values(estimator, likelihood, most):
    X = sp.csr_array(np.minimum(make_counts(), most))
    settings = {"max_epochs": 1, "random_state": 0}
    found = estimator(2, **settings).fit(X)
    named = estimator(2, likelihood=likelihood, **settings).fit(X)
    np.testing.assert_array_equal(found.score_samples(X), named.score_samples(X))
    kinds = {"bernoulli": "Bernoulli", "negative_binomial": "NegativeBinomial"}
    assert set(found.columns_.likelihoods) == {kinds[likelihood]}


def test_auto_goes_on_with_chunks_of_other_values_and_forms():
    vae = VAETransformer(2, random_state=0)
    vae.partial_fit(sp.csr_array(make_counts()))
    vae.partial_fit(sp.csr_array(np.minimum(make_counts(), 1)))
    vae.partial_fit(make_counts())
    assert set(vae.columns_.likelihoods) == {"NegativeBinomial"}
    assert np.isfinite(vae.score(make_counts()))


@pytest.mark.parametrize(
    ("likelihood", "value", "message"),
    [
        ("auto", 0.5, r"likelihood='auto' is dense for values such as 0\.5"),
        ("auto", -1, r"values such as -1"),
        ({0: "poisson"}, 0.5, r"values such as 0\.5"),
        ("gaussian", 1, "likelihood=Gaussian is for dense tables"),
        ("categorical", 1, "likelihood=Categorical is for dense tables"),
        ("autoregressive", 1, "is for dense tables"),
        ({**dict.fromkeys(range(D), "poisson"), 2: "gaussian"}, 1, "Gaussian is for"),
    ],
)
def test_others_are_refused_with_the_way_out(likelihood, value, message):
    X = make_counts()
    X[4, 5] = value
    vae = VAETransformer(2, likelihood=likelihood, max_epochs=1)
    with pytest.raises(TypeError, match=message) as error:
        vae.fit(sp.csr_array(X))
    assert "X.toarray(), or what TruncatedSVD makes of it" in str(error.value)
    assert "sparse" in str(error.value)


@pytest.mark.parametrize(
    ("likelihood", "value", "message"),
    [
        ("poisson", -2, r"Column 5 has the value -2, but likelihood=Poisson accepts"),
        ("poisson", 0.5, r"Column 5 has the value 0\.5.*'log_normal'|0\.5"),
        ("bernoulli", 3, r"Column 5 has the value 3, .*use likelihood='poisson'"),
        ("poisson", np.inf, r"contains inf in column 5, row 4"),
    ],
)
def test_values_out_of_range_are_named(likelihood, value, message):
    X = make_table(likelihood)
    X[4, 5] = value
    with pytest.raises(ValueError, match=message):
        make_vae(likelihood).fit(sp.csr_array(X))


def test_a_dense_fit_refuses_sparse_rows_and_stays_usable():
    X = make_counts()
    vae = VAETransformer(2, max_epochs=1, random_state=0).fit(X)
    scores = vae.score_samples(X)
    for method in vae.transform, vae.score_samples, vae.impute, vae.partial_fit:
        with pytest.raises(TypeError, match=r"sparse.*toarray"):
            method(sp.csr_array(X))
    np.testing.assert_array_equal(vae.score_samples(X), scores)
    frame = pd.DataFrame({"a": list("xyz") * 10, "b": range(30)})
    vae = VAETransformer(1, max_epochs=1).fit(frame)
    with pytest.raises((TypeError, ValueError)):
        vae.transform(sp.csr_array(np.ones((3, 2))))


def test_other_bad_tables_are_refused(pair):
    X = sp.csr_array(make_counts())
    with pytest.raises(ValueError, match=r"7 features.*8 features"):
        pair[1].transform(X[:, :7])
    with pytest.raises(ValueError, match="minimum of 2"):
        make_vae().fit(X[:1])
    with pytest.raises(ValueError, match=r"Complex|complex"):
        make_vae().fit(X.astype(complex))
    with pytest.raises(ValueError, match=r"dimension|1D|2D"):
        pair[1].transform(sp.coo_array(np.ones(D)))
    missing = X.toarray()
    missing[:, 1] = np.nan
    with pytest.raises(ValueError, match="no observed value in column 1"):
        make_vae().fit(sp.csr_array(missing))


class Counts(Likelihood):
    """A likelihood of one's own, for dense tables."""

    def __call__(self, raw, free, offset, log_range):
        raise NotImplementedError


def test_tag_tells_which_likelihoods_take_sparse_tables():
    for likelihood in SPARSE_LIKELIHOODS:
        assert get_tags(VAETransformer(likelihood=likelihood)).input_tags.sparse
    for likelihood in "auto", ZeroInflated(), {0: "poisson"}, {}:
        assert get_tags(VAETransformer(likelihood=likelihood)).input_tags.sparse
    for likelihood in "gaussian", "no such", Counts(), {0: "laplace"}, None:
        assert not get_tags(VAETransformer(likelihood=likelihood)).input_tags.sparse


def test_tag_is_true_though_other_sparse_tables_are_refused():
    X = TfidfVectorizer().fit_transform(["red cat", "blue dog", "red dog"] * 5)
    for likelihood, error in ("auto", TypeError), ("poisson", ValueError):
        vae = VAETransformer(1, likelihood=likelihood)
        assert get_tags(vae).input_tags.sparse
        with pytest.raises(error, match=r"values such as|has the value"):
            vae.fit(X)


def test_text_counts_go_through_pipelines_and_searches():
    words = ["red", "green", "blue", "cat", "dog", "bird"]
    generator = np.random.default_rng(0)
    texts = [" ".join(generator.choice(words, 9)) for _ in range(60)]
    vae = VAETransformer(1, max_epochs=1, random_state=0)
    pipeline = make_pipeline(CountVectorizer(), vae)
    assert pipeline.fit(texts).transform(texts).shape == (60, 1)
    search = GridSearchCV(
        pipeline, {"vaetransformer__likelihood": ["poisson", "auto"]}, cv=2
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        search.fit(texts)
    assert np.isfinite(search.best_score_)


# memory -------------------------------------------------------------------------------


def test_no_more_than_a_few_rows_are_dense_together(monkeypatch):
    largest, read = [], SparseRows.read

    def watch(self, rows):
        found = read(self, rows)
        largest.append(len(found))
        return found

    monkeypatch.setattr(SparseRows, "read", watch)
    X = sp.random_array((4000, 600), density=0.01, random_state=0, format="csr")
    X.data[:] = 1
    vae = make_vae("bernoulli", max_epochs=1, hidden_layer_sizes=(8,), n_draws=2)
    vae.fit(X)
    vae.transform(X), vae.score_samples(X)
    detector = VAEOutlierDetector(
        2, likelihood="bernoulli", max_epochs=1, hidden_layer_sizes=(8,)
    )
    detector.fit(X).predict(X)
    assert max(largest) <= 2048


def test_covariance_of_sparse_rows_is_that_of_the_dense_ones(monkeypatch):
    from skvae._closed_form import _moments

    X = np.log1p(make_counts(60, 40))
    X[:, 3], X[:, 4] = 0, 2.5
    weight = np.random.default_rng(0).uniform(size=60)
    lazy = SparseRows.from_matrix(sp.csr_array(X))
    monkeypatch.setattr(_moments, "_MAX_MATRIX_COLUMNS", 10)
    monkeypatch.setattr(_moments, "_DENSE_COLUMNS", 0)
    scale = np.linspace(1, 3, 40)
    whole = _moments.Covariance(X, weight).in_units(0.1, scale)
    monkeypatch.setattr(_moments, "_MAX_ROOT_CELLS", 10)
    monkeypatch.setattr(_moments, "_MOST_STORED", 1.0)
    part = _moments.Covariance(lazy, weight).in_units(0.1, scale)
    assert isinstance(part.root, _moments.SparseRoot)
    # sums over stored cells and over all of them differ in their rounding
    np.testing.assert_allclose(part.variance, whole.variance, rtol=1e-12, atol=1e-16)
    assert (part.variance[3:5] == 0).all()
    np.testing.assert_allclose(part.mean, whole.mean, rtol=1e-12)
    assert part.n_distinct == whole.n_distinct
    # an iteration finds them, to its tolerance
    unit = np.linspace(2, 1, 40)
    for found, expected in zip(
        part.top_eigenpairs(3, unit), whole.top_eigenpairs(3, unit), strict=True
    ):
        np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-8)


def test_detectors_of_levels_refuse_sparse_rows():
    X = np.random.default_rng(0).integers(0, 4, size=(60, 3))
    detector = VAEOutlierDetector(1, likelihood="ordinal", max_epochs=1).fit(X)
    with pytest.raises(TypeError, match="likelihood=Ordinal is for dense tables"):
        detector.predict(sp.csr_array(X + 3))
