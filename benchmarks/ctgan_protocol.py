"""The classifiers of Xu et al. (2019), trained on drawn rows and tested on real ones.

"Modeling tabular data using conditional GAN", section 5. F1 is that of the rarer class.
Features are those of SDGym: levels one-hot (two levels are one column), numbers to
[0, 5], logarithms of those that reach 1,000. Classifiers are AdaBoost of 50 stumps, a
tree of depth 20, logistic regression and a network of 50 units; tree and regression
weigh classes by their rarity.
"""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.neural_network import MLPClassifier
from sklearn.tree import DecisionTreeClassifier
from tables import list_text


class RealAdaBoost:
    """Real AdaBoost of 50 stumps, scikit-learn's ``SAMME.R`` until version 1.5.

    Friedman, Hastie & Tibshirani (2000), "Additive logistic regression", algorithm 2.
    The paper's figures are of it. Discrete AdaBoost, which is what is left there, has
    an F1 that is 0.02 lower on adult.
    """

    def fit(self, X, y):
        """Fit stumps to weighted rows; y is 0 or 1."""
        weight, self.stumps = np.full(len(y), 1 / len(y)), []
        for _ in range(50):
            stump = DecisionTreeClassifier(max_depth=1).fit(X, y, weight)
            self.stumps.append(stump)
            weight *= np.exp(-np.where(y, 1, -1) * self._get_half_logit(stump, X))
            weight /= weight.sum()
        return self

    @staticmethod
    def _get_half_logit(stump, X):
        p = stump.predict_proba(X).clip(np.finfo(float).eps)
        return np.log(p[:, 1] / p[:, 0]) / 2

    def predict(self, X):
        """Return 0 or 1."""
        return sum(self._get_half_logit(stump, X) for stump in self.stumps) > 0


def make_classifiers(seed):
    """Return the four classifiers by name."""
    balanced = {"class_weight": "balanced", "random_state": seed}
    return {
        "AdaBoost": RealAdaBoost(),
        "tree": DecisionTreeClassifier(max_depth=20, **balanced),
        "logistic": LogisticRegression(max_iter=50, **balanced),
        "network": MLPClassifier((50,), max_iter=50, random_state=seed),
    }


class Features:
    """Numbers for classifiers, by what the real training rows have."""

    def __init__(self, train, target):
        self.target = target
        self.rare = train[target].value_counts().index[-1]
        self.text = [name for name in list_text(train) if name != target]
        self.numbers = [name for name in train if name not in (*self.text, target)]
        self.levels = {name: sorted(train[name].unique()) for name in self.text}
        self.range = train[self.numbers].agg(["min", "max", "mean"])
        self.missing = [name for name in self.numbers if train[name].isna().any()]

    def transform(self, rows):
        """Return features, and whether the target is the rarer class."""
        columns = [self._make_number(name, rows[name]) for name in self.numbers]
        columns += [rows[name].isna().to_numpy() for name in self.missing]
        for name, levels in self.levels.items():
            levels = levels[1:] if len(levels) == 2 else levels
            columns += [(rows[name] == level).to_numpy() for level in levels]
        is_rare = (rows[self.target] == self.rare).to_numpy()
        return np.column_stack(columns).astype(float), is_rare.astype(int)

    def _make_number(self, name, column):
        least, most, mean = self.range[name]
        column = column.fillna(mean).to_numpy(float)
        if least >= 0 and most >= 1000:
            return np.log(np.maximum(column, 0.01))
        return 5 * (column - least) / (most - least)


def measure_classifiers(drawn, train, test, target, seed):
    """Return F1 on real rows of classifiers trained on draws, by name."""
    features = Features(train, target)
    X, y = features.transform(drawn)
    X_test, y_test = features.transform(test)
    if len(np.unique(y)) < 2:
        return dict.fromkeys(make_classifiers(seed), 0.0)
    return {
        name: f1_score(y_test, classifier.fit(X, y).predict(X_test))
        for name, classifier in make_classifiers(seed).items()
    }
