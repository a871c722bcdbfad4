"""Held-out likelihood of mixed tables: a likelihood per kind of column, or one-hot.

The usual recipe turns text into one-hot columns, standardises all and fits a VAE with
normal noise, one learned variance a column. Its density of a one-hot column is no
probability of a level: such columns take two values, and the density there grows
without bound as the noise shrinks. So the recipe is shown three times:

- `one-hot, density`: the ELBO as it stands, which cannot be compared with the others;
- `one-hot`: given z, the joint density of a column's one-hot columns is normalised over
  its levels. It is a softmax: with means m and variances v, the logits are
  (2 m_k - 1) / (2 v_k);
- `one-hot, calibrated`: the logits of every text column are also shrunk by the factor
  that suits the training rows best: variances that make a dense density make a softmax
  that is too sure of itself. This is the recipe's best case.

They have the standard normal prior and the size of `skvae`. `columns apart` has the
frequencies of levels and a normal density a number column: no latent at all.

Numbers are densities in the units of the table for all, text is probabilities, so that
nats per row compare. But whole numbers and values that recur let a density grow without
bound, too. So every model is also fitted and scored after uniform noise from -0.5 to
0.5 was added to the columns of whole numbers, training and test rows alike: the density
then bounds the probability of the whole number from below (Theis, van den Oord & Bethge
2016, "A note on the evaluation of generative models", section 3.1), and spikes raise
no score. Quote margins from there.

A level that the training rows lack is not counted. The ELBO is that of `score`; the
evidence is the importance-weighted bound of 32 draws (of as many as `score_samples`
takes, for skvae), which depends less on how good the encoder is. Seconds are of
fitting and judging.

``python benchmarks/mixed_density.py`` prints one line a model, means over seeds. Tables
come from the folder that `tables.find_folder` returns.
"""

import numpy as np
import pandas as pd
from _run import Axis, main, timed
from scipy.special import log_softmax, logsumexp
from scipy.stats import norm
from tables import list_mixed, list_text, split_mixed

# tables without missing numbers, which the usual recipe cannot take
TABLES = "adult", "bank_marketing", "german_credit"
N_DRAWS = 32
SKVAE = {"device": "cpu"}


def add_noise(frame, seed):
    """Return the frame with uniform noise added to columns of whole numbers."""
    generator = np.random.default_rng(seed)
    whole = frame.columns[[dtype.kind in "iu" for dtype in frame.dtypes]]
    noise = generator.uniform(-0.5, 0.5, (len(frame), len(whole)))
    return frame.astype(dict.fromkeys(whole, float)).assign(
        **{name: frame[name] + noise[:, j] for j, name in enumerate(whole)}
    )


class Coding:
    """Numbers first, then one-hot columns of the levels of each text column."""

    def __init__(self, train):
        text = list_text(train)
        self.levels = {name: sorted(train[name].unique()) for name in text}
        self.numbers = [name for name in train if name not in text]

    def get_codes(self, rows):
        """Return the index of the level of every text column, -1 where unknown."""
        return [
            pd.Categorical(rows[name], levels).codes.astype(int)
            for name, levels in self.levels.items()
        ]

    def get_numbers(self, rows):
        """Return the numbers."""
        return rows[self.numbers].to_numpy(float)

    def transform(self, rows):
        """Return one array."""
        pairs = zip(self.get_codes(rows), self.levels.values(), strict=True)
        blocks = [codes[:, None] == np.arange(len(levels)) for codes, levels in pairs]
        return np.hstack([self.get_numbers(rows), *blocks]).astype(float)

    def split(self, columns):
        """Return the parts of an array that belong to numbers and to text columns."""
        sizes = [len(self.numbers), *map(len, self.levels.values())]
        return np.split(columns, np.cumsum(sizes)[:-1], axis=-1)


def pick(log_probability, codes):
    """Return the log-probability of every row's level, 0 where unknown."""
    rows = np.arange(len(codes))
    return np.where(codes < 0, 0.0, log_probability[rows, codes])


# models: fit(train, test, n_components, seed) returns lines of ELBO and evidence ------


def fit_apart(train, test, n_components, seed):
    """Return the score of independent columns."""
    coding = Coding(train)
    numbers = coding.get_numbers(train)
    loc, scale = numbers.mean(axis=0), numbers.std(axis=0)
    total = norm.logpdf(coding.get_numbers(test), loc, scale).sum(axis=1)
    both = zip(coding.get_codes(train), coding.get_codes(test), strict=True)
    for fitted, codes in both:
        frequency = np.bincount(fitted) / len(fitted)
        total += pick(np.tile(np.log(frequency), (len(codes), 1)), codes)
    return {"columns apart": (total.mean(), total.mean())}


def fit_one_hot(train, test, n_components, seed):
    """Return the usual recipe's density, and its probabilities."""
    from skvae import VAETransformer
    from skvae.latents import Gaussian

    coding = Coding(train)
    vae = VAETransformer(
        n_components,
        likelihood="gaussian",
        latent=Gaussian(prior="standard"),
        init="random",
        random_state=seed,
        **SKVAE,
    ).fit(coding.transform(train))
    X = coding.transform(test)
    lines = {
        "one-hot, density": (vae.score(X), vae.score_samples(X, "evidence").mean())
    }
    factors = np.ones(len(coding.levels)), find_factors(vae, coding, train, seed)
    for label, shrunk in zip(("one-hot", "one-hot, calibrated"), factors, strict=True):
        log_weights = compute_log_weights(vae, coding, test, seed, shrunk)
        lines[label] = log_weights.mean(), compute_evidence(log_weights)
    return lines


def draw(vae, coding, rows, generator):
    """Return -log q(z|x) + log p(z) of one draw, and what is decoded, by column.

    What is decoded are the means and variances of numbers, then the logits of levels.
    """
    mean, std = (part.astype(float) for part in vae.posterior(coding.transform(rows)))
    noise = generator.standard_normal(mean.shape)
    z = mean + std * noise
    total = (norm.logpdf(z) - norm.logpdf(noise) + np.log(std)).sum(axis=1)
    means = coding.split(np.asarray(vae.inverse_transform(z), float))
    variances = coding.split(vae.noise_variance_)
    pairs = zip(means[1:], variances[1:], strict=True)
    return total, means[0], variances[0], [(2 * m - 1) / (2 * v) for m, v in pairs]


def find_factors(vae, coding, train, seed):
    """Return the factor of every text column's logits that suits training rows best."""
    logits = draw(vae, coding, train, np.random.default_rng(seed))[-1]
    grid = np.geomspace(0.01, 1, 25)
    return [
        max(grid, key=lambda f, x=x, c=c: pick(log_softmax(f * x, axis=1), c).mean())
        for x, c in zip(logits, coding.get_codes(train), strict=True)
    ]


def compute_log_weights(vae, coding, test, seed, factors):
    """Return log p(x, z) - log q(z|x) with levels as probabilities, draws first."""
    numbers, codes = coding.get_numbers(test), coding.get_codes(test)
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(N_DRAWS):
        total, means, variances, logits = draw(vae, coding, test, generator)
        total += norm.logpdf(numbers, means, np.sqrt(variances)).sum(axis=1)
        for x, factor, code in zip(logits, factors, codes, strict=True):
            total += pick(log_softmax(factor * x, axis=1), code)
        found.append(total)
    return np.array(found)


def compute_evidence(log_weights):
    """Return the mean importance-weighted bound."""
    return (logsumexp(log_weights, axis=0) - np.log(len(log_weights))).mean()


def fit_skvae(train, test, n_components, seed):
    """Return skvae's likelihoods of the table as it is."""
    from skvae import VAETransformer

    vae = VAETransformer(n_components, random_state=seed, **SKVAE).fit(train)
    return {"skvae": (vae.score(test), vae.score_samples(test, "evidence").mean())}


MODELS = {
    "apart": fit_apart,
    "one-hot": fit_one_hot,
    "skvae": fit_skvae,
}


# measurements -----------------------------------------------------------------------


def measure(options, table, q, model, seed):
    """Return one record for each likelihood, without and with noise."""
    train, test, _ = split_mixed(table, seed)
    records = []
    for suffix in ("", " with noise"):
        if suffix:
            train, test = add_noise(train, 2 * seed), add_noise(test, 2 * seed + 1)
        lines, seconds = timed(MODELS[model], train, test, q, seed)
        for label, (elbo, evidence) in lines.items():
            record = {"model": label, "seconds": seconds}
            record |= {f"ELBO{suffix}": elbo, f"evidence{suffix}": evidence}
            records.append(record)
    return records


AXES = [
    Axis("table", "--tables", ("adult",), TABLES, list_mixed),
    Axis("q", "--q", (5,)),
    Axis("model", "--models", MODELS, MODELS, keeps_all=True),
    Axis("seed", "--seeds", (0, 1, 2)),
]
TITLES = "ELBO", "evidence", "ELBO with noise", "evidence with noise"
TABLE = ["table", "q", "model"], dict.fromkeys(TITLES, ".2f") | {"seconds": ".1f"}


if __name__ == "__main__":
    main(__doc__, AXES, measure, TABLE)
