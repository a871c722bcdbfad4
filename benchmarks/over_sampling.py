"""Rare classes: what a classifier learns after new rows were drawn for them.

Of every table 70 % of the rows train, with the share of the rare class kept. What
balances the classes sees the training rows alone:

- `none`: nothing. `class_weight`: ``class_weight="balanced"`` of the classifier.
  `threshold`: the threshold of the classifier, tuned by cross-validation for balanced
  accuracy (``TunedThresholdClassifierCV``);
- `random`: ``RandomOverSampler``, copies of rows. `SMOTE`: ``SMOTE``, or ``SMOTENC``
  for tables with text, rows between neighbours; both of imbalanced-learn;
- `skvae`: ``VAEOverSampler()``, one density for the rare class. `skvae, after`: with
  ``VAETransformer()`` in place of ``VAETransformer(density="joint")``. `skvae, given`:
  one density of all rows and their classes, and ``sample(given={"class": 1})``.

Classifiers are logistic regression on standardised numbers and one-hot levels, and
gradient boosting (``HistGradientBoostingClassifier``). The measures are those of test
rows: balanced accuracy (0.5 by chance), which wants a threshold for a rare class, and
average precision, which has none.

``python benchmarks/over_sampling.py`` prints a line for each table, then the means of
all. Tables come from the folder that `tables.find_folder` returns, and have 8,000 rows
at most; imbalanced-learn must be installed.
"""

import numpy as np
import pandas as pd
from _run import Axis, get_mean, group, main, print_groups, timed
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, balanced_accuracy_score
from sklearn.model_selection import TunedThresholdClassifierCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from tables import find_folder, list_text, load_mixed, load_outliers

_MOST_ROWS = 8_000


def _load_csv(name):
    return pd.read_csv(find_folder() / f"uci/{name}.csv")


def _load_wine():
    frame = _load_csv("wine_white")
    return frame.drop(columns="quality"), frame["quality"] >= 8


def _load_yeast():
    frame = _load_csv("yeast")
    return frame.drop(columns="class"), frame["class"] == 1


def _load_numbers(name):
    X, y = load_outliers(name)
    return pd.DataFrame(X).add_prefix("x"), y == 1


def _load_mixed(name, rare):
    frame, target = load_mixed(name)
    return frame.drop(columns=target), frame[target].str.strip() == rare


TABLES = {
    "mammography": lambda: _load_numbers("mammography"),
    "wine_white": _load_wine,
    "annthyroid": lambda: _load_numbers("annthyroid"),
    "yeast": _load_yeast,
    "bank_marketing": lambda: _load_mixed("bank_marketing", "yes"),
    "adult": lambda: _load_mixed("adult", ">50K"),
}


def load(name):
    """Return rows, and 1 for those of the rare class."""
    X, y = TABLES[name]()
    rows = np.random.default_rng(0).permutation(len(X))[:_MOST_ROWS]
    return X.iloc[rows].reset_index(drop=True), np.asarray(y)[rows].astype(int)


# contenders: (X, y, seed) -> (X, y) -------------------------------------------------


def keep(X, y, seed):
    """Return the rows themselves."""
    return X, y


def copy_rows(X, y, seed):
    """Copy rows of the rare class."""
    from imblearn.over_sampling import RandomOverSampler

    return RandomOverSampler(random_state=seed).fit_resample(X, y)


def interpolate(X, y, seed):
    """Draw between neighbours."""
    from imblearn.over_sampling import SMOTE, SMOTENC

    text = list_text(X)
    sampler = SMOTENC(text, random_state=seed) if text else SMOTE(random_state=seed)
    return sampler.fit_resample(X, y)


def draw(X, y, seed, **params):
    """Draw from a density of the rare class."""
    from skvae import VAEOverSampler, VAETransformer

    estimator = VAETransformer(**params) if params else None
    sampler = VAEOverSampler(estimator=estimator, random_state=seed)
    return sampler.fit_resample(X, y)


def draw_given(X, y, seed):
    """Draw from a density of all rows, with the rare class given."""
    from skvae import VAETransformer

    table = X.assign(**{"class": pd.Categorical(y)})
    vae = VAETransformer(density="joint", random_state=seed).fit(table)
    n_new = int((y == 0).sum() - (y == 1).sum())
    drawn = vae.sample(n_new, given={"class": 1}, random_state=seed)[X.columns]
    return pd.concat([X, drawn], ignore_index=True), np.append(y, np.ones(n_new, int))


CONTENDERS = {
    "none": keep,
    "class_weight": keep,
    "threshold": keep,
    "random": copy_rows,
    "SMOTE": interpolate,
    "skvae": draw,
    "skvae, given": draw_given,
    "skvae, after": lambda X, y, seed: draw(X, y, seed, density="after"),
}


# classifiers ------------------------------------------------------------------------


def make_classifiers(X, seed, weight):
    """Return two classifiers of tables like X, by name."""
    text = list_text(X)
    numbers = [name for name in X if name not in text]
    levels = OneHotEncoder(handle_unknown="ignore")
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    boosting = HistGradientBoostingClassifier(
        random_state=seed,
        class_weight=weight,
        categorical_features=list(range(len(text))) or None,
    )
    return {
        "logistic": make_pipeline(
            make_column_transformer((levels, text), (StandardScaler(), numbers)),
            LogisticRegression(max_iter=2000, class_weight=weight),
        ),
        "boosting": make_pipeline(
            make_column_transformer((codes, text), ("passthrough", numbers)), boosting
        ),
    }


def measure(options, table, seed, contender):
    """Return what the classifiers of a contender reach."""
    X, y = load(table)
    X, X_test, y, y_test = train_test_split(
        X, y, test_size=0.3, random_state=seed, stratify=y
    )
    X = X.reset_index(drop=True)
    (rows, classes), seconds = timed(CONTENDERS[contender], X, y, seed)
    weight = "balanced" if contender == "class_weight" else None
    records = []
    for name, classifier in make_classifiers(X, seed, weight).items():
        if contender == "threshold":
            classifier = TunedThresholdClassifierCV(
                classifier, scoring="balanced_accuracy", random_state=seed
            )
        classifier.fit(rows, classes)
        scores = classifier.predict_proba(X_test)[:, 1]
        records.append(
            {
                "classifier": name,
                "balanced": balanced_accuracy_score(y_test, classifier.predict(X_test)),
                "precision": average_precision_score(y_test, scores),
                "seconds": seconds,
                "rare": float(y.mean()),
                "rows": len(X),
            }
        )
    return records


def show(records, options):
    """Print a line for each table, and the means."""

    def cells(part):
        found = {}
        for title, field in (("accuracy", "balanced"), ("precision", "precision")):
            for (name,), some in group(part, ["classifier"]).items():
                found[f"{title}, {name}"] = f"{get_mean(some, field):.3f}"
        return found | {"s": f"{get_mean(part, 'seconds'):.1f}"}

    print_groups(records, ["table", "contender"], cells)
    print()
    print_groups(records, ["contender"], cells)


if __name__ == "__main__":
    axes = [
        Axis("table", "--tables", TABLES, TABLES),
        Axis("seed", "--seeds", 5),
        Axis("contender", "--contenders", CONTENDERS, CONTENDERS, keeps_all=True),
    ]
    main(__doc__, axes, measure, show)
