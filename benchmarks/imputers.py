"""Imputers of data frames of numbers and texts, all with the same three methods.

``fit(frame)``, then ``impute(frame)`` fills the missing cells of the same or of other
rows with one best value, and ``draw(frame, seed)`` with a draw; ``can_draw`` tells
whether there is the latter.
"""

import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor

# makes IterativeImputer importable
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.preprocessing import StandardScaler

# Where cells are missing, z given the others is correlated, and q(z|x) is not: averaged
# over several weighed draws it need not be. Chosen on mask 0.
N_TRAINING_DRAWS = 5
# rounds over all columns, and trees, of random forests
N_ROUNDS, N_TREES = 5, 30


class MarginalImputer:
    """Means of numbers and most frequent texts."""

    can_draw = False

    def __init__(self, seed):
        pass

    def fit(self, frame):
        """Find means and modes."""
        self.imputer = make_column_transformer(
            (SimpleImputer(), make_column_selector(dtype_include="number")),
            (
                SimpleImputer(strategy="most_frequent"),
                make_column_selector(dtype_exclude="number"),
            ),
            verbose_feature_names_out=False,
        ).set_output(transform="pandas")
        self.imputer.fit(frame)
        return self

    def impute(self, frame):
        """Fill with means and modes."""
        return self.imputer.transform(frame)[list(frame)]


class CodedImputer:
    """An imputer of scikit-learn for standardised numbers and dummies of texts.

    A text is filled with the level of the largest dummy.
    """

    can_draw = False

    def __init__(self, seed):
        self.imputer = self.make(seed)

    def fit(self, frame):
        """Learn levels and scales, and fit the imputer."""
        self.levels = {
            name: sorted(column.dropna().unique())
            for name, column in frame.items()
            if column.dtype.kind not in "iufb"
        }
        self.scaler = StandardScaler()
        self.imputer.fit(self.scaler.fit_transform(self._encode(frame)))
        return self

    def _encode(self, frame):
        parts = []
        for name, column in frame.items():
            if name not in self.levels:
                parts.append(column.to_numpy(float)[:, None])
                continue
            dummies = column.to_numpy()[:, None] == np.array(self.levels[name])
            parts.append(np.where(column.isna().to_numpy()[:, None], np.nan, dummies))
        return np.concatenate(parts, axis=1)

    def impute(self, frame):
        """Fill with what the imputer expects."""
        codes = self.imputer.transform(self.scaler.transform(self._encode(frame)))
        return self._decode(frame, self.scaler.inverse_transform(codes))

    def _decode(self, frame, codes):
        found, begin = {}, 0
        for name in frame:
            levels = self.levels.get(name)
            part = codes[:, begin : begin + len(levels or [0])]
            best = part.argmax(axis=1)
            values = part[:, 0] if levels is None else np.array(levels)[best]
            found[name] = frame[name].where(frame[name].notna(), values)
            begin += part.shape[1]
        return pd.DataFrame(found, index=frame.index)


class NeighbourImputer(CodedImputer):
    """Mean of the ten nearest rows."""

    def make(self, seed):
        """Return scikit-learn's imputer."""
        return KNNImputer(n_neighbors=10, keep_empty_features=True)


class RidgeImputer(CodedImputer):
    """Rounds of Bayesian ridge regression."""

    can_draw = True

    def make(self, seed, **changes):
        """Return scikit-learn's imputer."""
        return IterativeImputer(random_state=seed, **changes)

    def fit(self, frame):
        """Keep the rows, too: the rounds of draws differ from the beginning."""
        self.frame, self.sampler = frame, None
        return super().fit(frame)

    def draw(self, frame, seed):
        """Fill with a draw: in every round each regression draws, too."""
        if self.sampler is None:
            codes = self.scaler.transform(self._encode(self.frame))
            self.sampler = self.make(seed, sample_posterior=True).fit(codes)
        self.sampler.random_state_ = np.random.RandomState(seed)
        codes = self.sampler.transform(self.scaler.transform(self._encode(frame)))
        return self._decode(frame, self.scaler.inverse_transform(codes))


class ForestImputer(CodedImputer):
    """Rounds of random forests: MissForest (Stekhoven & Bühlmann 2012)."""

    def make(self, seed):
        """Return scikit-learn's imputer."""
        forest = RandomForestRegressor(
            N_TREES, max_features="sqrt", min_samples_leaf=5, random_state=seed
        )
        return IterativeImputer(forest, max_iter=N_ROUNDS, random_state=seed)


class TreesImputer(CodedImputer):
    """Rounds of extremely randomised trees."""

    def make(self, seed):
        """Return scikit-learn's imputer."""
        trees = ExtraTreesRegressor(N_TREES, random_state=seed)
        return IterativeImputer(trees, max_iter=N_ROUNDS, random_state=seed)


class SkvaeImputer:
    """A VAETransformer with its defaults, or with other arguments."""

    can_draw = True

    def __init__(self, seed, **changes):
        self.seed, self.changes = seed, changes

    def fit(self, frame):
        """Fit the VAE."""
        from skvae import VAETransformer

        settings = {"random_state": self.seed, "device": "cpu"} | self.changes
        self.vae = VAETransformer(**settings).fit(frame)
        return self

    def impute(self, frame):
        """Fill with expected values and most likely levels."""
        return self.vae.impute(frame, bounded=False)

    def draw(self, frame, seed):
        """Fill with a draw."""
        return self.vae.impute(frame, random_state=seed)


def make_linear_skvae(seed):
    """Return factor analysis by EM."""
    return SkvaeImputer(seed, hidden_layer_sizes=(), max_epochs=0)


def make_joint_skvae(seed):
    """Return a VAE that is trained on the bound as a whole."""
    return SkvaeImputer(seed, density="joint")


def make_recommended_skvae(seed):
    """Return the settings that are recommended where many cells are missing."""
    from skvae.objectives import IWAE

    return SkvaeImputer(seed, density="joint", objective=IWAE(N_TRAINING_DRAWS))


class MeanOfImputers:
    """The mean of what several imputers of numbers fill in."""

    can_draw = False

    def __init__(self, imputers):
        self.imputers = imputers

    def fit(self, frame):
        """Fit all of them."""
        for imputer in self.imputers:
            imputer.fit(frame)
        return self

    def impute(self, frame):
        """Fill with the mean."""
        return sum(i.impute(frame) for i in self.imputers) / len(self.imputers)


def make_three_skvae(seed):
    """Return the mean of three VAEs with the recommended settings."""
    seeds = range(3 * seed, 3 * seed + 3)
    return MeanOfImputers([make_recommended_skvae(s) for s in seeds])


IMPUTERS = {
    "mean, mode": MarginalImputer,
    "10 neighbours": NeighbourImputer,
    "ridge": RidgeImputer,
    "forest": ForestImputer,
    "skvae, linear": make_linear_skvae,
    "skvae": SkvaeImputer,
    "skvae, joint": make_joint_skvae,
    "skvae, iwae": make_recommended_skvae,
}
