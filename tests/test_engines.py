"""Recipes of docs/user_guide/engines.md, on two workers each.

An engine that is not installed skips its recipes; what a recipe asks of skvae alone,
such as the functions for partitions of Dask and Spark, runs everywhere.
"""

import shutil

import numpy as np
import pandas as pd
import pytest
from pages import Page

from skvae.datasets import make_mixed

PAGE = Page("engines.md")

GRID_SEARCH = """
from sklearn.base import clone
alone = clone(search).fit(X)
assert search.best_params_ == alone.best_params_
for name in ("mean_test_score", "std_test_score"):
    np.testing.assert_allclose(
        search.cv_results_[name], alone.cv_results_[name], rtol=1e-6
    )
"""

# of one process that is given all rows
ONE_FIT = """
alone = VAETransformer(2, max_epochs=3, random_state=0).fit(X)
for score in scores:
    assert score == scores[0]
    np.testing.assert_allclose(score, alone.score(X), rtol=1e-4)
"""

# title of the section: modules that it needs, and what must be true after it
RECIPES = {
    "Grid searches on Dask": (["dask", "distributed"], GRID_SEARCH),
    "Grid searches on Ray": (["ray"], GRID_SEARCH),
    "Pruning with optuna": (
        ["optuna"],
        """
from optuna.trial import TrialState
trials = make_study().trials
assert len(trials) == 10
states = {trial.state for trial in trials}
assert states <= {TrialState.COMPLETE, TrialState.PRUNED}
for trial in trials:
    steps = sorted(trial.intermediate_values)
    assert steps[0] == 1
    if trial.state is TrialState.COMPLETE:
        # both trainings reported
        assert steps[-1] > 5
assert any(trial.state is TrialState.PRUNED for trial in trials)
assert vae.n_components == best["n_components"]
""",
    ),
    "ASHA with Ray Tune": (
        ["ray.tune"],
        """
assert not results.errors
assert len(results) == 4
lengths = [result.metrics["training_iteration"] for result in results]
assert 2 <= min(lengths) < 8
assert results.get_best_result().metrics["loss"] == min(
    result.metrics["loss"] for result in results
)
""",
    ),
    "Scores of Dask frames": (
        ["dask", "distributed"],
        """
kept = table[table["age"] > 30]
assert list(Z.columns) == ["vaetransformer0", "vaetransformer1"]
assert scores.index.equals(kept.index) and Z.index.equals(kept.index)
np.testing.assert_allclose(scores, vae.score_samples(kept), rtol=1e-7)
np.testing.assert_allclose(Z, vae.transform(kept), rtol=1e-5, atol=1e-6)
""",
    ),
    "Scores of Dask arrays": (
        ["dask", "distributed"],
        """
np.testing.assert_allclose(scores, vae.score_samples(X), rtol=1e-7)
np.testing.assert_allclose(Z, vae.transform(X), rtol=1e-5, atol=1e-6)
""",
    ),
    "Scores of Spark frames": (
        ["pyspark"],
        """
assert list(scores.columns) == ["id", "score"]
scores = scores.sort_values("id")["score"]
np.testing.assert_allclose(scores, vae.score_samples(table), rtol=1e-7)
""",
    ),
    "Batches of Spark": (
        ["pyspark"],
        """
expected = make_score()(scores[names].to_numpy())
np.testing.assert_allclose(scores["score"], expected, rtol=1e-7)
assert len(scores) == len(X)
""",
    ),
    "Training on blocks of Dask": (
        ["distributed", "dask_ml"],
        """
# blocks are passed as they are
assert vae.n_iter_ == 9
assert vae.score(X) > VAETransformer(
    2, hidden_layer_sizes=(32,), random_state=0
).partial_fit(X[:100]).score(X)
""",
    ),
    "Training on row groups of Parquet": (
        ["pyarrow"],
        """
assert file.num_row_groups == 4
assert vae.n_iter_ == 8
frame = vae.columns_.to_frame()
assert frame.loc["region", "levels"] == "3: north, south, west"
assert frame.loc["education", "levels"] == "3: school, college, degree"
""",
    ),
    "One fit on Ray": (["ray.train"], "scores = [vae.score(X)]" + ONE_FIT),
    "One fit on Spark": (["pyspark"], "scores = [vae.score(X)]" + ONE_FIT),
    "One fit on Dask": (
        ["distributed"],
        "scores = [vae.score(X) for vae in models]" + ONE_FIT,
    ),
    "One fit with accelerate": (
        ["accelerate"],
        "scores = [float(open(f'score-{k}.txt').read()) for k in range(2)]" + ONE_FIT,
    ),
}


def test_every_recipe_is_tried_and_names_how_to_install_its_engine():
    assert PAGE.list_recipes() == list(RECIPES)
    for section in RECIPES:
        assert PAGE.get_command(section), section


@pytest.mark.parametrize("section", RECIPES)
def test_recipe_runs_on_two_workers(section, tmp_path):
    modules, check = RECIPES[section]
    PAGE.require(section, modules)
    if "pyspark" in modules and shutil.which("java") is None:
        pytest.skip("Spark needs a Java virtual machine: install a JDK of version 17")
    done = PAGE.run(section, tmp_path, check)
    assert done.returncode == 0, done.stderr[-5000:]


def test_functions_for_partitions_of_dask_need_no_dask(tmp_path):
    found = PAGE.execute("Scores of Dask frames", tmp_path, n_blocks=1)
    vae, table, embed = found["vae"], found["table"], found["embed"]
    # one partition is empty
    parts = table[:150], table[:0], table[150:]
    scores = pd.concat([found["score"](part) for part in parts])
    expected = pd.Series(vae.score_samples(table), table.index, name="score")
    pd.testing.assert_series_equal(scores, expected, rtol=1e-7)
    Z = pd.concat([embed(part) for part in parts])
    np.testing.assert_allclose(Z, vae.transform(table), rtol=1e-5, atol=1e-6)
    assert (embed(table[:0]).dtypes == Z.dtypes).all()


def test_function_for_batches_of_spark_needs_no_spark(tmp_path):
    found = PAGE.execute("Scores of Spark frames", tmp_path, n_blocks=1)
    vae, table = found["vae"], found["table"]
    # as Arrow brings them: no categories, None in strings, floats for integers
    plain = table.astype({"education": "str"}).rename_axis("id").reset_index()
    for name in ("visits", "savings"):
        plain[name] = plain[name].astype("float64")
    for name in ("region", "education", "owns_home"):
        plain[name] = plain[name].astype(object).where(table[name].notna(), None)
    batches = iter([plain[:150], plain[:0], plain[150:]])
    scores = pd.concat(list(found["score"](batches)))
    assert (scores["id"] == table.index).all()
    expected = vae.score_samples(table)
    np.testing.assert_allclose(scores["score"], expected, rtol=1e-7)


def test_function_that_spark_loads_needs_no_spark(tmp_path):
    found = PAGE.execute("Batches of Spark", tmp_path, n_blocks=1)
    assert found["make_score"]()(found["X"]).shape == (300,)


def test_engines_that_are_missing_are_in_the_table_of_messages():
    table = PAGE.sections["What can go wrong"]
    for modules, _ in RECIPES.values():
        for module in modules:
            assert f"'{module.partition('.')[0]}'`" in table, module


@pytest.mark.filterwarnings("default")
def test_callback_that_optuna_has_for_skorch_prunes_where_fit_trains_once(quick, X):
    optuna = pytest.importorskip("optuna")
    integration = pytest.importorskip("optuna_integration")

    def objective(trial):
        lr = trial.suggest_float("lr", 1e-4, 1e-1, log=True)
        pruning = integration.SkorchPruningCallback(trial, "valid_loss")
        vae = quick(lr=lr, max_epochs=4, net_callbacks=[pruning])
        return -vae.fit(X).score(X)

    pruner = optuna.pruners.PercentilePruner(1.0, n_startup_trials=1)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0), pruner=pruner)
    study.optimize(objective, n_trials=4)
    assert "PRUNED" in {trial.state.name for trial in study.trials}


@pytest.mark.filterwarnings("default")
def test_wrapper_of_dask_ml_does_what_the_page_tells(quick, X):
    da, dd = pytest.importorskip("dask.array"), pytest.importorskip("dask.dataframe")
    wrappers = pytest.importorskip("dask_ml.wrappers")
    vae = quick().fit(X)
    Z = wrappers.ParallelPostFit(vae).transform(da.from_array(X, chunks=(50, 6)))
    assert Z.shape == (200, 6)
    np.testing.assert_allclose(Z.compute(), vae.transform(X), rtol=1e-5, atol=1e-6)
    table = make_mixed(n_samples=100, random_state=0)
    vae = quick().fit(table)
    meta = np.empty((0, 2), "float32")
    wrapped = wrappers.ParallelPostFit(vae, transform_meta=meta)
    frame = dd.from_pandas(table, npartitions=2)
    Z = wrapped.transform(frame).compute()
    np.testing.assert_allclose(Z, vae.transform(table), rtol=1e-5, atol=1e-6)
    frame = frame.map_partitions(lambda part: part[part.index < 20])
    with pytest.raises(ValueError, match="0 sample"):
        wrapped.transform(frame).compute()


@pytest.mark.filterwarnings("default")
def test_incremental_of_dask_ml_takes_frames_with_all_levels(quick):
    dd = pytest.importorskip("dask.dataframe")
    wrappers = pytest.importorskip("dask_ml.wrappers")
    table = make_mixed(n_samples=200, missing=0.05, random_state=0)
    frame = dd.from_pandas(table, npartitions=4).categorize(["region"])
    vae = wrappers.Incremental(quick()).fit(frame).estimator_
    assert vae.n_iter_ == 4
    assert vae.columns_.to_frame().loc["region", "levels"] == "3: north, south, west"
