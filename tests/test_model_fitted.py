"""Scores from any number of draws, and the best q of every row."""

import copy
import math
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event, Thread

import numpy as np
import pytest
import scipy.stats
import torch
from torch.utils.flop_counter import FlopCounterMode

from skvae import VAETransformer
from skvae._model import _chunks
from skvae._model._cost import count_widest
from skvae._model._draws import _ERROR_SHARE, _LARGEST_ERROR, measure_error
from skvae._model._module import VAEModule
from skvae._model._single_row import SingleRow
from skvae._model._snapshot import Snapshot
from skvae.datasets import make_factors
from skvae.likelihoods import Gaussian, GaussianMixture

N_STANDARD_ERRORS = 5
AVERAGES = ["elbo", "evidence", "reconstruction", "kl"]


@pytest.fixture(scope="module")
def linear():
    """Return rows, their exact density, and a linear model with a wrong posterior.

    x = W'z + noise with W'W diagonal: the exact posterior is in the family.
    """
    generator = np.random.default_rng(0)
    basis, _ = np.linalg.qr(generator.standard_normal((5, 2)))
    loadings = (basis * [2.0, 1.2]).T
    table = generator.standard_normal((60, 2)) @ loadings
    table += generator.standard_normal((60, 5))
    vae = VAETransformer(
        2,
        hidden_layer_sizes=(),
        likelihood=Gaussian("shared"),
        max_epochs=0,
        random_state=0,
    ).fit(table)
    precision = 1 + (loadings**2).sum(axis=1)
    exact = loadings.T / precision, 1 / np.sqrt(precision)
    by_hand = {
        "decoder_weight": loadings,
        "decoder_bias": np.zeros((1, 5)),
        "encoder_centre": np.zeros((1, 5)),
        "encoder_weight": 0.8 * exact[0],
        "posterior_scale": 1.3 * exact[1][None],
    }
    module = vae.net_.module_
    for name, value in by_hand.items():
        setattr(module.linear_start, name, torch.as_tensor(value))
    for parameter in module.parameters():
        parameter.data.zero_()
    module.linear_start._cast = {}
    vae.columns_ = replace(vae.columns_, location=np.zeros(5), unit=np.ones(5))
    distribution = scipy.stats.multivariate_normal(
        np.zeros(5), loadings.T @ loadings + np.eye(5)
    )
    return table, distribution.logpdf(table), exact, vae


def test_evidence_of_a_linear_model_is_its_closed_form(linear):
    table, exact, _, vae = linear
    assert (vae.score_samples(table) < exact - 0.01).all()
    for n_draws in (200, 5000):
        found, error = vae.score_samples(
            table, "evidence", n_draws=n_draws, return_std=True
        )
        assert (np.abs(found - exact) < N_STANDARD_ERRORS * error).all()
    assert error.max() < 0.05


def test_refined_posterior_of_a_linear_model_is_exact(linear):
    table, _, (weight, scale), vae = linear
    mean, std = vae.posterior(table, refine=True)
    assert mean.dtype == std.dtype == np.float32
    np.testing.assert_allclose(mean, table @ weight, rtol=0, atol=1e-3)
    np.testing.assert_allclose(std, np.tile(scale, (60, 1)), rtol=0, atol=1e-3)
    # which the encoder alone is not
    mean, std = vae.posterior(table)
    assert np.abs(mean - table @ weight).max() > 0.1
    assert (std > scale + 0.1).all()


def test_refined_posterior_depends_on_its_row_alone(linear):
    table, _, _, vae = linear
    whole = np.hstack(vae.posterior(table, refine=True))
    part = np.hstack(vae.posterior(table[7:9], refine=True))
    np.testing.assert_allclose(part, whole[7:9], rtol=0, atol=1e-4)


@pytest.mark.parametrize("method", AVERAGES)
def test_block_of_the_fit_is_the_default(quick, X, method):
    fitted = quick(n_draws=8).fit(X)
    expected = fitted.score_samples(X[:20], method)
    found = fitted.score_samples(X[:20], method, n_draws=fitted.n_draws)
    np.testing.assert_array_equal(found, expected)
    found, error = fitted.score_samples(X[:20], method, return_std=True)
    np.testing.assert_array_equal(found, expected)
    assert error.shape == (20,)
    assert error.dtype == np.float64
    assert (error > 0).all()


@pytest.mark.parametrize("method", AVERAGES)
def test_blocks_of_other_sizes_are_the_same_for_all_rows_and_calls(fitted, X, method):
    found = fitted.score_samples(X[:20], method, n_draws=7)
    again = fitted.score_samples(X[:20], method, n_draws=7)
    np.testing.assert_array_equal(found, again)
    row = fitted.score_samples(X[3:4], method, n_draws=7)
    np.testing.assert_allclose(row, found[3:4], rtol=1e-9)
    other = fitted.score_samples(X[:20], method, n_draws=8)
    # the KL to N(0, I), which has all the weight here, is exact at any block
    assert (np.abs(other - found) > 1e-9).all() or method == "kl"


def test_one_draw_makes_the_evidence_the_elbo(fitted, X):
    elbo, evidence = (
        fitted.score_samples(X[:20], method, n_draws=1)
        for method in ("elbo", "evidence")
    )
    np.testing.assert_allclose(elbo, evidence)


def test_more_draws_come_closer(fitted, X):
    rows = X[:20]
    best, error = fitted.score_samples(rows, "evidence", n_draws=5000, return_std=True)
    few, few_error = fitted.score_samples(rows, "evidence", n_draws=50, return_std=True)
    assert np.median(error) < 0.5 * np.median(few_error)
    assert (best >= fitted.score_samples(rows, n_draws=5000) - 1e-9).all()
    # in expectation the bound tightens
    assert best.mean() > few.mean() - N_STANDARD_ERRORS * few_error.mean()


def test_memory_does_not_grow_with_draws(fitted, X, monkeypatch):
    sizes = []
    decode = VAEModule.decode

    def record(module, z):
        sizes.append(math.prod(z.shape[:-1]) * count_widest(module))
        return decode(module, z)

    monkeypatch.setattr(VAEModule, "decode", record)
    monkeypatch.setattr(_chunks, "_CHUNK_VALUES", 200_000)
    fitted.score_samples(X[:4], "evidence", n_draws=5000)
    assert len(sizes) > 4
    assert max(sizes) <= 200_000


# likelihoods of draws are in single precision, and torch rounds the last values of a
# tensor, which fill no vector register, unlike the others (seen with AVX-512)
@pytest.mark.parametrize(
    ("is_mixed", "limit"), [(True, np.finfo(np.float32).eps), (False, 1e-9)]
)
@pytest.mark.parametrize("n_draws", [1, 2, 37, 300])
def test_chunks_of_draws_change_nothing(
    fitted, X, monkeypatch, n_draws, is_mixed, limit
):
    def score():
        # the one that is kept must not change
        model = copy.copy(fitted._get_model())
        if not is_mixed:
            model.mixed = model.precise
        scores = [model.score(X[:5], m, n_draws) for m in AVERAGES]
        model.costs = {}
        model.noise = model.get_noise(n_draws)
        # of as many draws, too
        model.search_noise = model.noise
        return [*scores, model.score_columns(X[:5]), *model.diagnose(X[:5])]

    expected = score()
    monkeypatch.setattr(_chunks, "_CHUNK_VALUES", 10_000)
    for one, other in zip(score(), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=limit)


def test_thousands_of_draws_can_be_asked_of_fit():
    table, _ = make_factors(60, 4, 2, random_state=0)
    vae = VAETransformer(n_draws=5000, max_epochs=1, random_state=0).fit(table)
    found, error = vae.score_samples(table[:3], "evidence", return_std=True)
    assert np.isfinite(found).all()
    assert (error < 0.1).all()
    refined = vae.score_samples(table[:3], "refined")
    assert (refined >= vae.score_samples(table[:3])).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_draws": 0}, "n_draws=0"),
        ({"n_draws": 2.5}, "n_draws=2.5"),
        ({"n_draws": True}, "n_draws=True"),
        ({"method": "refined", "n_draws": 5}, "n_draws=5.*'refined'"),
        ({"method": "refined", "return_std": True}, "return_std.*'refined'"),
        ({"n_draws": 1, "return_std": True}, "two draws.*n_draws=1"),
    ],
)
def test_what_a_score_cannot_do_is_refused(fitted, X, arguments, message):
    with pytest.raises(ValueError, match=message):
        fitted.score_samples(X[:3], **arguments)


# two epochs of four units are too few for the upper of two layers to be of use
@pytest.mark.filterwarnings("ignore::skvae.UnusedComponentsWarning")
@pytest.mark.parametrize("n_components", [1, 2, 3])
@pytest.mark.parametrize("latent", ["gaussian", "hierarchical"])
def test_coordinates_of_rows_are_the_same_in_any_order_and_company(
    quick, latent, n_components
):
    table, _ = make_factors(60, 6, 3, random_state=0)
    vae = quick(n_components, latent=latent, hidden_layer_sizes=(4,)).fit(table)
    z = vae.transform(table)
    for seed in range(20):
        order = np.random.default_rng(seed).permutation(60)[: 3 * seed + 1]
        np.testing.assert_array_equal(vae.transform(table[order]), z[order])


def _shift(module):
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(0.1)


def _replace(module):
    for weight in module.parameters():
        weight.data = weight.data + 0.1


def _load(module):
    weights = module.state_dict()
    module.load_state_dict({name: 2 * weights[name] for name in weights})


def _write(module):
    for weight in module.parameters():
        weight.data.add_(0.1)


def _write_by_numpy(module):
    for weight in module.parameters():
        weight.detach().numpy()[...] += 0.1


@pytest.mark.parametrize("change", [_shift, _replace, _load, _write, _write_by_numpy])
def test_weights_that_a_user_changes_count_at_once(quick, change):
    table, _ = make_factors(60, 4, random_state=0)
    vae, other = quick().fit(table), quick().fit(table)
    before = vae.score_samples(table)
    assert (vae.score_samples(table) == before).all()
    change(vae.net_.module_)
    change(other.net_.module_)
    after = vae.score_samples(table)
    assert not np.isclose(after, before).all()
    np.testing.assert_array_equal(after, other.score_samples(table))


def test_the_copy_in_double_precision_is_not_pickled(quick):
    table, _ = make_factors(60, 4, random_state=0)
    vae = quick().fit(table)
    size = len(pickle.dumps(vae))
    vae.score_samples(table)
    assert len(pickle.dumps(vae)) == size
    assert "_kept_model" not in vars(copy.deepcopy(vae))


def test_a_model_that_was_loaded_in_inference_mode_scores(quick):
    table, _ = make_factors(60, 4, random_state=0)
    vae = quick().fit(table)
    with torch.inference_mode():
        loaded = pickle.loads(pickle.dumps(vae))
        inside = loaded.score_samples(table)
    np.testing.assert_array_equal(inside, vae.score_samples(table))
    np.testing.assert_array_equal(loaded.score_samples(table), inside)


def test_a_model_is_kept_only_when_it_is_whole(quick, monkeypatch):
    # a failed or slower call leaves nothing half made to other threads
    table, _ = make_factors(60, 4, random_state=0)
    vae = quick().fit(table)
    scores = vae.score_samples(table)
    del vae._kept_model
    with monkeypatch.context() as patch:
        patch.setattr(Snapshot, "keep", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            vae.score_samples(table)
    np.testing.assert_array_equal(vae.score_samples(table), scores)


def score_one_by_one(vae, table, repeats, **settings):
    """Return scores and z of single rows, each asked for so many times."""
    rows = [table[i : i + 1] for i in range(len(table))] * repeats
    scores = [vae.score_samples(row, **settings)[0] for row in rows]
    return np.array(scores), np.concatenate([vae.transform(row) for row in rows])


def count_recorded(vae):
    """Return how many recordings of single rows are in use."""
    found = vae._kept_model.single_rows.values()
    return sum(r.program is not None and not r.is_refused for r in found)


@pytest.fixture(scope="module")
def served():
    """Return rows with large values and missing cells, and a model of the default."""
    table, _ = make_factors(90, 4, random_state=0)
    table[:, 1] = np.exp(table[:, 1])
    vae = VAETransformer(2, max_epochs=3, random_state=0).fit(table)
    rows = table[:12].copy()
    rows[3, 0], rows[5] = np.nan, 1e7
    return rows, vae


@pytest.mark.parametrize("method", ["elbo", "evidence", "reconstruction", "kl"])
def test_single_rows_that_are_asked_for_often_have_the_scores_of_all(served, method):
    rows, vae = served
    vae = copy.deepcopy(vae)
    rows = np.delete(rows, 5, axis=0) if method == "kl" else rows
    scores, z = score_one_by_one(vae, rows, 5, method=method)
    # that of 'evidence' is at least the ELBO
    assert count_recorded(vae) == 2 + (method == "evidence")
    expected = np.tile(vae.score_samples(rows, method=method), 5)
    np.testing.assert_allclose(scores, expected, rtol=1e-6, atol=1e-6)
    expected = np.tile(vae.transform(rows), (5, 1))
    np.testing.assert_allclose(z, expected, rtol=1e-6, atol=1e-6)


def test_recordings_of_single_rows_follow_the_weights(served):
    rows, vae = served
    vae = copy.deepcopy(vae)
    score_one_by_one(vae, rows[:1], 40)
    assert count_recorded(vae) == 2
    with torch.no_grad():
        for weight in vae.net_.module_.parameters():
            weight.data.mul_(0.9)
    scores, z = score_one_by_one(vae, rows[:1], 40)
    expected = copy.deepcopy(vae)
    assert count_recorded(vae) == 2
    np.testing.assert_allclose(scores, expected.score_samples(rows[:1])[0])
    np.testing.assert_allclose(z, np.tile(expected.transform(rows[:1]), (40, 1)), 1e-6)


def test_a_hook_sees_single_rows_that_have_been_recorded(served):
    rows, vae = served
    vae, seen = copy.deepcopy(vae), []
    score_one_by_one(vae, rows[:1], 40)
    body = vae.net_.module_.decoder
    with body.register_forward_hook(lambda *_: seen.append(1)):
        score_one_by_one(vae, rows[:1], 40)
    assert len(seen) >= 40
    seen.clear()
    register = torch.nn.modules.module.register_module_forward_hook
    with register(lambda *_: seen.append(1)):
        vae.score_samples(rows[:1])
    assert seen


def test_modes_of_torch_see_single_rows_that_have_been_recorded(served):
    rows, vae = served
    score_one_by_one(vae, rows[:1], 40)
    with FlopCounterMode(display=False) as counter:
        vae.score_samples(rows[:1])
    assert counter.get_total_flops() > 0


@pytest.mark.parametrize("settings", [[{}, {"n_draws": 32}], [{"n_draws": 32}, {}]])
def test_recordings_of_different_draws_are_told_apart(settings):
    table, _ = make_factors(200, 4, random_state=0)
    table += 0.5 * np.roll(table, 1, axis=1) ** 2
    vae = VAETransformer(2, density="joint", max_epochs=10, random_state=0).fit(table)
    for more in settings:
        more = {"method": "evidence", **more}
        expected = vae.score_samples(table[:1], **more)
        scores, _ = score_one_by_one(vae, table[:1], 40, **more)
        np.testing.assert_allclose(scores, np.tile(expected, 40), rtol=1e-6)


def test_a_recording_that_disagrees_is_not_used(served, monkeypatch):
    rows, vae = served
    vae = copy.deepcopy(vae)
    expected = vae.score_samples(rows[:1])
    score_one_by_one(vae, rows[:1], 32)
    monkeypatch.setattr(SingleRow, "_run", lambda self, x: self.result + 1)
    found, _ = score_one_by_one(vae, rows[:1], 3)
    np.testing.assert_allclose(found, np.tile(expected, 3), rtol=1e-9)
    assert count_recorded(vae) == 0


def test_much_work_and_many_numbers_of_draws_are_not_recorded(served):
    rows, vae = served
    vae = copy.deepcopy(vae)
    for n_draws in (10_000, *range(2, 60)):
        vae.score_samples(rows[:1], n_draws=n_draws)
    keys = vae._kept_model.single_rows
    assert len(keys) == 16
    assert all(10_000 not in key for key in keys)


def test_draws_of_other_code_do_not_keep_rows_from_being_recorded(served):
    rows, vae = served
    vae, is_over = copy.deepcopy(vae), Event()

    def draw():
        while not is_over.wait(1e-3):
            np.random.rand()  # noqa: NPY002  (other code may use it)

    thread = Thread(target=draw)
    thread.start()
    score_one_by_one(vae, rows[:1], 40)
    is_over.set()
    thread.join()
    assert count_recorded(vae) == 2


@pytest.mark.parametrize("size", [3, 2**17])
def test_a_snapshot_sees_every_change_of_a_tensor(size):
    module = torch.nn.Linear(size, 1)
    snapshot = Snapshot(module).keep()
    assert snapshot.is_of(module)
    hook = module.register_forward_hook(print)
    assert not snapshot.is_of(module)
    hook.remove()
    assert snapshot.is_of(module)
    weight = module.weight
    before = weight.data[0, -1].item()
    weight.data[0, -1] += 1
    assert not snapshot.is_of(module)
    weight.data[0, -1] = before
    weight.data = weight.data.clone()
    # small ones are known by their memory as well
    assert snapshot.is_of(module) == (size > 3)
    if size == 3:
        snapshot = Snapshot(module).keep()
        # as those do that move weights to other devices for a while
        weight.data.untyped_storage().resize_(0)
        assert not snapshot.is_of(module)


# three epochs are too few for the upper of two layers to be of use
@pytest.mark.filterwarnings("ignore::skvae.UnusedComponentsWarning")
@pytest.mark.parametrize("latent", ["gaussian", "categorical", "hierarchical"])
def test_points_of_a_map_need_no_second_encoder(latent):
    table, _ = make_factors(80, 5, random_state=0)
    table[3, 0] = np.nan
    vae = VAETransformer(2, latent=latent, max_epochs=3, random_state=0).fit(table)
    model = vae._get_model()
    module, x = model.precise, torch.as_tensor(model.columns.encode(table))
    with torch.no_grad():
        found, expected = (
            module.latent.point_estimate(encode(x))
            for encode in (module.encode_point, module.encode)
        )
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_single_rows_are_recorded_for_one_thread_at_a_time(served):
    rows, vae = served
    vae = copy.deepcopy(vae)
    expected = vae.score_samples(rows[:8])

    def work(i):
        return [vae.score_samples(rows[i : i + 1])[0] for _ in range(60)]

    chosen = [0, 1, 2, 4]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(work, chosen))
    expected = np.repeat(expected[chosen][:, None], 60, axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert count_recorded(vae) == 1


def test_code_of_a_user_is_not_recorded(served):
    rows, _ = served

    class Doubled(Gaussian):
        pass

    vae = VAETransformer(2, likelihood=Doubled(), max_epochs=2, random_state=0)
    vae.fit(np.abs(rows[[0, 1, 2, 4, 6, 7, 8, 9, 10, 11]]))
    score_one_by_one(vae, rows[:1], 40)
    assert all(r.is_refused for r in vae._kept_model.single_rows.values())


def test_weights_that_are_not_finite_are_not_blamed_on_the_rows(quick):
    table, _ = make_factors(60, 4, random_state=0)
    vae = quick().fit(table)
    for weight in vae.net_.module_.parameters():
        weight.data.fill_(np.nan)
    table[2, 0] = np.nan
    with pytest.raises(ValueError, match=r"Row 0 has no finite result, .*weights"):
        vae.score_samples(table[2:])


@pytest.fixture(scope="module")
def mixture():
    """Return rows, and a model whose densities are in single precision."""
    table, _ = make_factors(300, 6, 2, random_state=0)
    table[:, 0] = np.exp(table[:, 0])
    settings = {"hidden_layer_sizes": (16, 16), "max_epochs": 3, "random_state": 0}
    return table, VAETransformer(2, **settings).fit(table)


@pytest.mark.parametrize("method", AVERAGES)
def test_single_precision_changes_no_score_by_much(mixture, method):
    table, vae = mixture
    model = copy.copy(vae._get_model())
    assert model.mixed is not model.precise
    single = model.score(table, method)
    model.__dict__["mixed"] = model.precise
    np.testing.assert_allclose(single, model.score(table, method), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("n_draws", [None, 4, 7, 50])
@pytest.mark.parametrize("method", AVERAGES)
def test_rows_in_single_precision_depend_on_no_other_row(mixture, method, n_draws):
    table, vae = mixture
    scores = vae.score_samples(table, method, n_draws=n_draws)
    for seed in range(5):
        rows = np.random.default_rng(seed).permutation(300)[: 40 * seed + 1]
        found = vae.score_samples(table[rows], method, n_draws=n_draws)
        # products of a row are its own; its z, of double precision, may be rounded to
        # the next number of single precision
        np.testing.assert_allclose(found, scores[rows], rtol=2e-8, atol=2e-8)


def test_rows_too_far_for_single_precision_are_scored_in_double(mixture):
    table, vae = mixture
    scores = vae.score_samples(table[:5])
    far = table[:5].copy()
    far[2, 1] = 1e40
    found = vae.score_samples(far)
    assert np.isfinite(found).all()
    assert found[2] < -1e40
    np.testing.assert_array_equal(np.delete(found, 2), np.delete(scores, 2))
    assert np.isfinite(vae.score_features(far)).all()


@pytest.mark.parametrize("weight", [0.0, 1e-4])
def test_scores_fall_with_the_square_of_the_distance_however_far(weight):
    X = np.random.default_rng(0).normal(size=(200, 3))
    likelihood = GaussianMixture(background_weight=weight)
    vae = VAETransformer(2, likelihood=likelihood, max_epochs=2, random_state=0).fit(X)
    vae.score_samples(X)
    distances = 10.0 ** np.arange(8, 60, 4)
    far = np.repeat(X[:1], len(distances), axis=0)
    far[:, 0] = distances
    ratio = vae.score_samples(far) / distances**2
    np.testing.assert_allclose(ratio, ratio[-1], rtol=1e-3)
    # also one by one, by a recording
    for _ in range(40):
        vae.score_samples(X[:1])
    for row, score in zip(far, vae.score_samples(far), strict=True):
        np.testing.assert_allclose(vae.score_samples(row[None]), score, rtol=1e-6)


def test_auto_takes_as_few_draws_as_keep_the_error_small(mixture):
    table, vae = mixture
    assert vae.n_draws == "auto"
    assert vae.n_draws_ in (8, 16, 32, max(8, 2 * vae.n_components_))
    exact = vae.score_samples(table, n_draws=3000)
    error = vae.score_samples(table) - exact
    allowed = max(_LARGEST_ERROR, _ERROR_SHARE * exact.std())
    if vae.n_draws_ < 32:
        # it was measured on other rows, and by other draws
        assert np.sqrt((error**2).mean()) < 1.5 * allowed
    measured, _ = measure_error(vae._get_model(), table, 8)
    assert (measured <= 1.3 * allowed) or vae.n_draws_ > 8
    # the scores of a linear model are exact
    linear = VAETransformer(2, hidden_layer_sizes=(), max_epochs=0).fit(table)
    assert linear.n_draws_ == 8


def test_evidence_of_auto_has_more_draws_and_is_never_below_the_elbo(mixture):
    table, vae = mixture
    model = vae._get_model()
    assert len(model.evidence_noise) == 32
    evidence, error = vae.score_samples(table, "evidence", return_std=True)
    assert (evidence >= vae.score_samples(table)).all()
    np.testing.assert_array_equal(vae.score_samples(table, "evidence"), evidence)
    assert (error > 0).all()


def test_a_number_of_draws_is_used_as_it_is(quick):
    table, _ = make_factors(60, 4, random_state=0)
    vae = quick(n_draws=3).fit(table)
    assert vae.n_draws_ == 3
    model = vae._get_model()
    assert len(model.noise) == len(model.evidence_noise) == 3
