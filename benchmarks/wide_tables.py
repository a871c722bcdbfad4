"""CPU seconds and memory of a default fit of wide tables, beside PCA.

``python benchmarks/wide_tables.py`` prints one table: rows of smooth spectra, with four
curved factors, and of white noise. Every measurement has a fresh process of one thread;
libraries are warm. CPU s are those of the process; MB is the peak of memory above what
was there before the fit, and the table its own size. R² is that of reconstructed
held-out rows in units of the columns' standard deviations, and nats their mean score.
"""

import numpy as np
from _run import Axis, fill, get_mean, main
from measure import metered
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

import skvae

# held-out rows, and peaks that spectra are made of
_N_TEST, _N_PEAKS = 200, 12
_FEW = 40


def make_spectra(n_samples, n_features):
    """Return rows of smooth curves with noise, (n_samples, n_features)."""
    generator = np.random.default_rng(0)
    draw = generator.standard_normal
    place = np.linspace(0, 1, n_features)
    centres, widths = generator.uniform([[0.1], [0.02]], [[0.9], [0.15]], (2, _N_PEAKS))
    distance = (place - centres[:, None]) / widths[:, None]
    z = draw((n_samples, 4))
    height = np.tanh(z @ draw((4, _N_PEAKS))) + 0.3 * z @ draw((4, _N_PEAKS))
    rows = height @ np.exp(-0.5 * distance**2)
    return rows + 0.1 * draw((n_samples, n_features))


def make_noise(n_samples, n_features):
    """Return rows of white noise."""
    return np.random.default_rng(0).standard_normal((n_samples, n_features))


TABLES = {
    f"{name}, {n:,} x {d:,}": (make, n, d)
    for name, make, n, d in (
        ("noise", make_noise, 100, 1000),
        ("noise", make_noise, 1000, 600),
        ("spectra", make_spectra, 100, 1000),
        ("spectra", make_spectra, 1000, 600),
        ("spectra", make_spectra, 500, 5000),
        ("spectra", make_spectra, 500, 20_000),
    )
}


def measure(options, table, model, seed):
    """Return CPU seconds, memory and quality of one model."""
    make, n_samples, n_features = TABLES[table]
    if options.quick:
        n_samples, n_features = 60, 400
    rows = make(n_samples + _N_TEST, n_features)
    X, test = rows[:n_samples].copy(), rows[n_samples:]
    del rows
    scaler = StandardScaler().fit(X)
    vae = skvae.VAETransformer(random_state=seed, device="cpu")
    skvae.VAETransformer(max_epochs=1, device="cpu").fit(X[:_FEW, :_FEW])
    if model == "skvae":
        fitted, encode = vae, lambda part: part
    else:
        # as many components as skvae would choose
        fitted, encode = PCA(options.components), scaler.transform
    _, record = metered(fitted.fit, encode(X))
    rest = encode(test)
    found = fitted.inverse_transform(fitted.transform(rest))
    if model == "skvae":
        rest, found = scaler.transform(rest), scaler.transform(found)
    record["R2"] = 1 - ((rest - found) ** 2).mean() / (rest**2).mean()
    score = fitted.score(encode(test[:_FEW]))
    # PCA is fitted to standardised columns
    units = 0.0 if model == "skvae" else np.log(scaler.scale_).sum()
    return record | {"nats": score - units, "table_MB": X.nbytes / 2**20}


def summarize(part):
    """Return the cells of a table and a model."""
    formats = {"cpu": ".1f", "memory": ".0f", "table_MB": ".1f"}
    titles = {"cpu": "CPU s", "memory": "MB", "table_MB": "table MB"}
    cells = {titles[n]: fill(get_mean(part, n), f) for n, f in formats.items()}
    cells["R²"] = fill(get_mean(part, "R2"), ".3f")
    return cells | {"nats": fill(get_mean(part, "nats"), ".1f")}


AXES = [
    Axis("table", "--tables", list(TABLES)),
    Axis("model", "--models", ["skvae", "PCA"], keeps_all=True),
    Axis("seed", "--repeats", 1),
]
OPTIONS = {"--components": {"type": int, "default": 8}}
TABLE = ["table", "model"], summarize


if __name__ == "__main__":
    main(__doc__, AXES, measure, TABLE, options=OPTIONS, isolated=True)
