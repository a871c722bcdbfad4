"""Random tables and settings, and the laws that hold for all of them.

``python tests/fuzz.py --seconds 3600`` tries as many cases as fit into the time, each
from a seed of its own, and prints those that break a law, so that ``--first SEED
--cases 1`` shows them again. `test_fuzz.py` tries some of them with the other tests.

A case is a table (kinds of columns, missing values, units, container, weights) and an
estimator (members, sizes, training). Refusals count as answers where they are a
`ValueError` or `TypeError` that names what is wrong.
"""

import argparse
import io
import os
import pickle
import re
import sys
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import torch
from likelihood_cases import make_rows
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

import skvae
from skvae import VAEOutlierDetector, VAETransformer
from skvae.latents import LATENTS
from skvae.likelihoods import LIKELIHOODS
from skvae.objectives import OBJECTIVES

# nats: of sums of columns, and of the difference between orders of the rows
ROUNDING = {"rtol": 1e-6, "atol": 1e-6}
CONTAINERS = ["array", "array", "float32", "fortran", "pandas", "polars", "arrow"]
NAMES = ["a", "b c", "", "näme", "X.1", "0", "mean", "target"]
# what a refusal may name: a parameter, an argument, a column or the number of rows
CULPRIT = re.compile(
    r"olumn|row|n_samples|sample_weight|feature|\bX\b|X_val|Z|given|"
    + "|".join(VAETransformer().get_params())
)


@dataclass
class Case:
    """A table, what was in it, and an estimator that is not fitted."""

    seed: int
    estimator: object
    table: object
    # (n, d) object: the cells as plain Python has them, None where they are missing
    cells: np.ndarray
    kinds: list
    container: str
    fit_params: dict = field(default_factory=dict)

    def describe(self):
        """Return what the case is, in one line."""
        shape, missing = self.cells.shape, sum(v is None for v in self.cells.flat)
        parts = [f"seed={self.seed}", f"{self.container}{shape}", f"missing={missing}"]
        parts += [f"kinds={','.join(self.kinds)}", *map(str, self.fit_params)]
        return " ".join([*parts, " ".join(repr(self.estimator).split())])


# tables ------------------------------------------------------------------------------


def draw_number(rng, n):
    kind = rng.choice(["normal", "heavy", "skewed", "two", "constant", "rounded"])
    x = {
        "normal": lambda: rng.normal(size=n),
        "heavy": lambda: rng.standard_t(2, size=n),
        "skewed": lambda: rng.lognormal(0, 1.5, size=n),
        "two": lambda: rng.normal(size=n) + 5 * (rng.random(n) < 0.3),
        "constant": lambda: np.full(n, rng.normal()),
        "rounded": lambda: rng.normal(size=n).round(1),
    }[kind]()
    scale, shift = 10.0 ** rng.integers(-6, 7), rng.choice([0, 0, 3, -1e3])
    return (x + shift) * scale


def draw_count(rng, n):
    return rng.negative_binomial(2, 0.3, size=n)


def draw_flag(rng, n):
    return rng.random(n) < rng.uniform(0.02, 0.98)


def draw_level(rng, n):
    levels = rng.permutation(["red", "", "blue", "ü", "None", "7"])
    return levels[rng.integers(0, rng.integers(1, 7), size=n)]


DRAWS = {
    "number": draw_number,
    "count": draw_count,
    "flag": draw_flag,
    "level": draw_level,
}


def draw_table(rng):
    """Return cells as Python has them and the kinds of their columns."""
    n, d = int(rng.integers(2, 90)), int(rng.integers(1, 8))
    is_mixed = rng.random() < 0.5
    kinds = [str(rng.choice(list(DRAWS))) if is_mixed else "number" for _ in range(d)]
    cells = np.empty((n, d), dtype=object)
    for j, kind in enumerate(kinds):
        cells[:, j] = DRAWS[kind](rng, n).tolist()
    if d > 1 and rng.random() < 0.5:
        cells[:, 1] = cells[:, 0]
        kinds[1] = kinds[0]
    if rng.random() < 0.2:
        # rows that are equal
        cells[n // 2 :] = cells[: n - n // 2]
    if rng.random() < 0.4:
        gaps = rng.random((n, d)) < rng.uniform(0.02, 0.4)
        gaps[0] = False
        cells[gaps] = None
    return cells, kinds


def wrap(cells, kinds, container, rng):
    """Return a table of the cells in a container."""
    n, d = cells.shape
    if container in ("array", "float32", "fortran"):
        x = np.array(
            [[np.nan if v is None else float(v) for v in row] for row in cells]
        ).reshape(n, d)
        if container == "float32":
            return x.astype(np.float32)
        return np.asfortranarray(x) if container == "fortran" else x
    names = list(rng.permutation(NAMES)[:d])
    columns = {}
    for j, (name, kind) in enumerate(zip(names, kinds, strict=True)):
        values = list(cells[:, j])
        if container == "arrow":
            columns[str(name)] = pa.array(values)
        elif container == "polars":
            columns[str(name)] = pl.Series(str(name), values)
        else:
            columns[str(name)] = _make_series(values, kind, rng)
    if container == "arrow":
        return pa.table(columns)
    if container == "polars":
        return pl.DataFrame(columns)
    index = rng.permutation(n) if rng.random() < 0.5 else [f"r{i}" for i in range(n)]
    table = pd.DataFrame({name: list(c) for name, c in columns.items()}, index=index)
    return table.astype({name: c.dtype for name, c in columns.items()})


def _make_series(values, kind, rng):
    if kind == "number":
        dtype = str(rng.choice(["float64", "float32", "Float64"]))
    elif kind == "count":
        dtype = str(rng.choice(["Int64", "Int16"]))
        if None not in values and rng.random() < 0.5:
            dtype = "int32"
    elif kind == "flag":
        dtype = "boolean" if None in values or rng.random() < 0.5 else "bool"
    else:
        dtype = str(rng.choice(["object", "string", "category"]))
    return pd.Series(values, dtype=dtype)


# settings ----------------------------------------------------------------------------


def draw_estimator(rng, kinds, container, n):
    """Return an estimator for columns of these kinds, and what is fitted with it."""

    def choose(*values):
        return values[rng.integers(len(values))]

    params = {
        "n_components": choose(1, 2, 2, 3, "auto"),
        "density": choose("after", "after", "joint", None),
        "latent": choose("gaussian", "gaussian", *LATENTS),
        "objective": choose("elbo", "elbo", *OBJECTIVES),
        "hidden_layer_sizes": choose((8,), (8, 4), ()),
        "init": choose("linear", "linear", "random"),
        "standardize": choose(True, True, True, False),
        "early_stopping": choose(True, True, False),
        "batch_size": choose("auto", "auto", 7, 1000),
        "dropout": choose(0.0, 0.0, 0.2),
        "activation": choose("silu", "tanh", "relu"),
        "beta": choose(1.0, 1.0, 4.0),
        "kl_warmup": choose(0.0, 0.0, 0.5),
        "max_epochs": choose(1, 2, 3),
        "n_draws": choose(4, 16),
        "random_state": int(rng.integers(1000)),
        "device": "cpu",
    }
    if params["latent"] == "hierarchical" and params["n_components"] == 1:
        params["n_components"] = 2
    if params["hidden_layer_sizes"] == ():
        params["dropout"] = 0.0
    cls = VAETransformer
    if rng.random() < 0.25:
        cls = VAEOutlierDetector
        del params["density"]
        params["contamination"] = choose("auto", 0.1)
    fit_params = {}
    if rng.random() < 0.2:
        fit_params["sample_weight"] = rng.integers(0, 3, size=n) + 1e-3
    return cls(**params), fit_params


def make_case(seed):
    """Return the case of a seed."""
    rng = np.random.default_rng(seed)
    container = str(rng.choice(CONTAINERS))
    if rng.random() < 0.35:
        name = str(rng.choice(list(LIKELIHOODS)))
        rows = make_rows(name, int(rng.integers(12, 60)), int(rng.integers(2, 6)))
        kinds = [name] * rows.shape[1]
        cells = np.array(rows.tolist(), dtype=object)
        if rng.random() < 0.3:
            gaps = rng.random(cells.shape) < 0.15
            gaps[:3] = False
            cells[gaps] = None
        container = str(rng.choice(["array", "float32", "fortran"]))
        estimator, fit_params = draw_estimator(rng, kinds, container, len(cells))
        if isinstance(estimator, VAETransformer):
            estimator.set_params(likelihood=name)
    else:
        cells, kinds = draw_table(rng)
        if container in ("array", "float32", "fortran"):
            cells = np.where(
                np.isin(kinds, "level"), draw_number(rng, len(cells))[:, None], cells
            )
            kinds = ["number" if kind == "level" else kind for kind in kinds]
        estimator, fit_params = draw_estimator(rng, kinds, container, len(cells))
    # not drawn: earlier cases stay as they were
    if seed % 4 == 1:
        estimator.set_params(n_draws="auto")
    if seed % 8 == 3:
        estimator.set_params(n_ensemble=2)
    table = wrap(cells, kinds, container, rng)
    if rng.random() < 0.15:
        fit_params["X_val"] = take(table, slice(0, max(2, len(cells) // 3)))
    return Case(seed, estimator, table, cells, kinds, container, fit_params)


# what is global ----------------------------------------------------------------------


def look_at_globals():
    """Return what no call may change."""
    return {
        "numpy": pickle.dumps(np.random.get_state()),  # noqa: NPY002
        "torch": torch.get_rng_state().numpy().tobytes(),
        "threads": torch.get_num_threads(),
        "dtype": torch.get_default_dtype(),
        "grad": torch.is_grad_enabled(),
        "precision": torch.get_float32_matmul_precision(),
        "errors": np.geterr(),
        "environment": dict(os.environ),
        "filters": len(warnings.filters),
    }


# laws --------------------------------------------------------------------------------


class BrokenLawError(AssertionError):
    """A law does not hold; the message says which and where."""


def expect(holds, *seen):
    """Raise unless something holds."""
    if not np.all(holds):
        raise BrokenLawError(" ".join(map(str, seen)))


def agree(a, b, **tolerance):
    """Raise unless two arrays agree; infinities and NaN too."""
    np.testing.assert_allclose(a, b, **(ROUNDING | tolerance))


def as_frame(table):
    """Return a table as a frame of pandas, whatever its container."""
    if isinstance(table, np.ndarray):
        return pd.DataFrame(table)
    return table.to_pandas() if hasattr(table, "to_pandas") else table


def take(table, rows):
    """Return rows of a table, by number."""
    if isinstance(table, pd.DataFrame):
        return table.iloc[rows]
    if isinstance(table, pa.Table):
        return table.take(np.arange(len(table))[rows])
    return table[rows]


def law_scores(case, model):
    """Scores are finite, and the bound is the sum of its parts."""
    X = case.table
    found = {
        m: model.score_samples(X, m)
        for m in ("elbo", "reconstruction", "kl", "evidence")
    }
    for name, scores in found.items():
        expect(scores.shape == (len(case.cells),), name, scores.shape)
        expect(scores.dtype == np.float64, name, scores.dtype)
        expect(
            np.isfinite(scores), name, "is not finite:", scores[~np.isfinite(scores)]
        )
    # sizes of the terms, whose difference may be small
    size = np.abs(found["reconstruction"]).max() + 1
    agree(found["elbo"], found["reconstruction"] - found["kl"], atol=1e-9 * size)
    expect(found["evidence"] >= found["elbo"] - 1e-8 * size, "evidence below elbo")
    features = np.asarray(model.score_features(X), dtype=float)
    expect(features.shape == case.cells.shape, features.shape)
    agree(features.sum(axis=1), found["reconstruction"], atol=1e-9 * size)
    gaps = np.array([[v is None for v in row] for row in case.cells])
    expect(features[gaps] == 0, "missing cells have scores")
    agree(model.score(X), found["elbo"].mean(), atol=1e-9 * size)


def law_coordinates(case, model):
    """Coordinates are finite, and decoded to finite cells of the table's kinds."""
    Z = model.transform(case.table)
    expect(Z.dtype == np.float32, Z.dtype)
    expect(Z.shape[1] == len(model.get_feature_names_out()), Z.shape)
    expect(np.isfinite(Z), "z is not finite")
    mean, std = model.posterior(case.table)
    expect(np.isfinite(mean) & np.isfinite(std) & (std >= 0), "q is not finite")
    check_cells(case, model.inverse_transform(Z), is_mean=True)
    check_cells(case, model.reconstruct(case.table), is_mean=True)


def check_cells(case, table, n=None, is_mean=False):
    """Check that cells are of the kinds, columns and container of the table."""
    given = case.table
    expect(type(table) is type(given), type(table), "for", type(given))
    expect(len(table) == (n or len(case.cells)), len(table))
    frame = as_frame(table)
    expect(list(frame.columns) == list(as_frame(given).columns), list(frame.columns))
    for j, kind in enumerate(case.kinds):
        values = frame.iloc[:, j]
        expect(not values.isna().any(), f"column {j} has missing values")
        seen = {v for v in case.cells[:, j] if v is not None}
        if kind == "level":
            expect(set(values) <= seen, f"column {j}", set(values) - seen)
            continue
        values = values.to_numpy(dtype=float)
        expect(np.isfinite(values), f"column {j} is not finite")
        if kind == "flag" and not is_mean:
            expect(np.isin(values, (0, 1)), f"column {j}", values)
    if isinstance(given, pd.DataFrame):
        expect((table.dtypes == given.dtypes).all(), list(table.dtypes))
    elif not isinstance(given, np.ndarray):
        expect(table.schema == given.schema, table.schema)


def law_samples(case, model):
    """Draws are of the table's kinds, within its range, and repeat with their seed."""
    drawn = model.sample(20, random_state=3)
    check_cells(case, drawn, 20)
    again = as_frame(model.sample(20, random_state=3))
    expect(as_frame(drawn).equals(again), "draws do not repeat")
    frame = as_frame(drawn)
    for j, kind in enumerate(case.kinds):
        if kind in ("number", "count"):
            seen = np.array([v for v in case.cells[:, j] if v is not None], dtype=float)
            values = frame.iloc[:, j].to_numpy(dtype=float)
            slack = 1e-6 * np.abs(seen).max()
            inside = (values >= seen.min() - slack) & (values <= seen.max() + slack)
            expect(inside, f"column {j}", values[~inside], seen.min(), seen.max())


def law_imputation(case, model):
    """Observed cells stay what they are, and missing ones are filled."""
    for seed in (None, 3):
        filled = model.impute(case.table, n_draws=8, random_state=seed)
        check_cells(case, filled)
        frame, own = as_frame(filled), as_frame(case.table)
        for j in range(len(case.kinds)):
            observed = ~own.iloc[:, j].isna().to_numpy()
            before = own.iloc[:, j].to_numpy(dtype=object)[observed]
            after = frame.iloc[:, j].to_numpy(dtype=object)[observed]
            expect(list(before) == list(after), f"column {j} is changed")


def law_rows(case, model):
    """What comes of a row depends on that row alone, and on no call before."""
    X, n = case.table, len(case.cells)
    order = np.random.default_rng(0).permutation(n)
    size = 1 + np.abs(model.score_samples(X, "reconstruction")).max()
    for method in (model.transform, model.score_samples):
        scores = np.asarray(method(X))
        np.testing.assert_array_equal(np.asarray(method(X)), scores)
        tolerance = {"rtol": 2e-6, "atol": 1e-9 * size}
        for rows in (order, order[: 1 + n // 3], order[:1]):
            found = np.asarray(method(take(X, rows)))
            agree(found, scores[rows], **tolerance)


def law_fit_repeats(case, model):
    """The same seed gives the same model, in another process and from a pickle too."""
    scores = model.score_samples(case.table)
    twin = clone(model).fit(case.table, **case.fit_params)
    np.testing.assert_array_equal(twin.score_samples(case.table), scores)
    loaded = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(loaded.score_samples(case.table), scores)


def law_detector(case, model):
    """A detector calls a row odd where its score is below the offset."""
    if not isinstance(model, VAEOutlierDetector):
        return
    scores = model.score_samples(case.table)
    agree(model.decision_function(case.table), scores - model.offset_)
    expect(model.predict(case.table) == np.where(scores < model.offset_, -1, 1))
    parts = np.asarray(model.explain(case.table), dtype=float)
    expect(np.isfinite(parts), "explain is not finite")


def law_files(case, model):
    """A file of `skvae.save` holds the estimator."""
    file = io.BytesIO()
    skvae.save(model, file)
    file.seek(0)
    twin = skvae.load(file)
    agree(
        model.score_samples(case.table), twin.score_samples(case.table), rtol=0, atol=0
    )
    one, two = (as_frame(v.sample(3, random_state=0)) for v in (model, twin))
    expect(one.equals(two), one, two)


def law_bad_input(case, model):
    """What is wrong is refused by name, and leaves the model as it was."""
    scores = model.score_samples(case.table)
    bad = {"width": np.zeros((3, case.cells.shape[1] + 1))}
    if isinstance(case.table, np.ndarray):
        bad["infinite"] = np.full((2, case.cells.shape[1]), np.inf)
        bad["text"] = np.full((2, case.cells.shape[1]), "x", dtype=object)
    for name, X in bad.items():
        methods = [model.transform, model.score_samples]
        # a fit may have other columns, and those of text are categories
        for method in [*methods, *([model.fit] if name == "infinite" else [])]:
            try:
                with warnings.catch_warnings():
                    # of names that an array does not have
                    warnings.simplefilter("ignore", UserWarning)
                    method(X)
            except (ValueError, TypeError) as error:
                expect(CULPRIT.search(str(error)), name, "is not named:", error)
            else:
                raise BrokenLawError(f"{name} is accepted")
    np.testing.assert_array_equal(model.score_samples(case.table), scores)


def law_far_rows(case, model):
    """Rows far out have finite scores and coordinates, or are refused by name."""
    if not isinstance(case.table, np.ndarray):
        return
    for factor in (1e3, 1e9, 1e30, 1e160, 1e300):
        X = np.array(case.table, dtype=float)
        column = case.seed % X.shape[1]
        if case.kinds[column] != "number":
            return
        X[:, column] = np.where(np.isnan(X[:, column]), np.nan, factor)
        for method in (
            *(model.score_samples, model.transform, model.reconstruct, model.impute),
            *([model.predict] if isinstance(model, VAEOutlierDetector) else []),
        ):
            try:
                found = np.asarray(method(X))
            except ValueError as error:
                expect("olumn" in str(error), factor, error)
            else:
                expect(np.isfinite(found), method.__name__, "of", factor, found)


def law_given(case, model):
    """Draws have the values that are given, and unknown ones are refused."""
    rng = np.random.default_rng(case.seed)
    frame = as_frame(case.table)
    place = int(rng.integers(frame.shape[1]))
    value = next(v for v in case.cells[:, place] if v is not None)
    name = place if isinstance(case.table, np.ndarray) else frame.columns[place]
    with warnings.catch_warnings():
        # of values that few draws agree with
        warnings.simplefilter("ignore", skvae.EffectiveSampleSizeWarning)
        drawn = model.sample(7, random_state=0, given={name: value})
    check_cells(case, drawn, 7)
    cells = as_frame(drawn).iloc[:, place]
    if case.kinds[place] in ("level", "flag"):
        expect(list(cells) == [value] * 7, "given", value, "drawn", list(cells))
    else:
        agree(cells.to_numpy(dtype=float), float(value), rtol=1e-6)
    for wrong in ("nobody", [1, 2], complex(1, 1)):
        try:
            model.sample(2, given={name: wrong})
        except (ValueError, TypeError) as error:
            expect(CULPRIT.search(str(error)), wrong, "is not named:", error)
        else:
            raise BrokenLawError(f"given={wrong!r} is accepted")


def law_stream(case, model):
    """A stream in chunks has finite scores; what is in no unit may be refused."""
    half = slice(0, max(2, len(case.cells) // 2))
    stream = clone(model).set_params(n_ensemble=1)
    if stream.n_components == "auto":
        stream.set_params(n_components=2)
    for _ in range(2):
        try:
            stream.partial_fit(take(case.table, half))
        except ValueError as error:
            if stream.standardize or "standardize=True" not in str(error):
                raise
            return
    scores = stream.score_samples(take(case.table, half))
    expect(np.isfinite(scores), "scores of a stream are not finite")


LAWS = {name: law for name, law in globals().items() if name.startswith("law_")}


def check(case):
    """Return what breaks a law, as ``[(law, message)]``, or why the fit was refused."""
    broken, before = [], look_at_globals()
    copy = as_frame(case.table).copy(deep=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        look = look_at_globals()
        try:
            model = clone(case.estimator).fit(case.table, **case.fit_params)
        except (ValueError, TypeError) as error:
            if CULPRIT.search(str(error)) and not _is_foreign(error):
                return [], str(error)
            return [("fit", _describe(error))], None
        except Exception as error:
            return [("fit", _describe(error))], None
        for name, law in LAWS.items():
            try:
                law(case, model)
            except Exception as error:
                # whatever it is, it is a finding
                broken.append((name, _describe(error)))
        changed = [k for k, v in look_at_globals().items() if v != look[k]]
    changed += [k for k, v in look_at_globals().items() if v != before[k]]
    if changed:
        broken.append(("globals", f"changed: {sorted(set(changed))}"))
    if not as_frame(case.table).equals(copy):
        broken.append(("input", "the table was changed"))
    for warning in caught:
        module = type(warning.message).__module__
        is_ours = module.startswith("skvae") or "skvae" in str(warning.filename)
        if not is_ours and not issubclass(warning.category, ConvergenceWarning):
            text = f"{warning.category.__name__}: {warning.message}"
            broken.append(("warnings", text[:200]))
    return broken, None


def _is_foreign(error):
    """Return whether an error was raised outside this package and scikit-learn."""
    *_, last = traceback.extract_tb(error.__traceback__)
    return not re.search(r"skvae|sklearn", last.filename)


def _describe(error):
    *_, last = traceback.extract_tb(error.__traceback__)
    text = " ".join(str(error).split())[:300]
    place = f"{os.path.basename(last.filename)}:{last.lineno}"
    return f"{type(error).__name__} at {place}: {text}"


def main(arguments=None):
    """Try cases until the time or their number is over; return how many fail."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--cases", type=int, default=10**9)
    parser.add_argument("--first", type=int, default=0, help="seed of the first case")
    options = parser.parse_args(arguments)
    end, seen, refused, failed = time.time() + options.seconds, Counter(), 0, 0
    seed = options.first
    while time.time() < end and seed < options.first + options.cases:
        case = make_case(seed)
        broken, refusal = check(case)
        refused += refusal is not None
        if broken:
            failed += 1
            print(case.describe())
            for law, message in broken:
                seen[law] += 1
                print(f"    {law}: {message}")
            sys.stdout.flush()
        elif refusal is not None and options.cases == 1:
            print("refused:", refusal)
        seed += 1
    n = seed - options.first
    print(f"skvae {skvae.__version__}: {n} cases, {refused} refused, {failed} broken")
    for law, count in seen.most_common():
        print(f"    {law}: {count}")
    return failed


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(bool(main()))
