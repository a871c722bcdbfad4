"""The gap between log p(x) and the ELBO, with the encoder's q and a refined one.

``python benchmarks/variational_em.py`` prints the table of ``docs/results/density.md``.
2,000 rows of two factors, curved, in ten columns of noise 0.1; 1,000 more are scored.
The decoder has hidden layers of 64 and 64 units, the encoder one of 4, or those of the
decoder. log p(x) is `score_samples(X, "evidence", n_draws=2000)`, or of a row the
refined ELBO where that is higher: both are lower bounds.
"""

import numpy as np
from _run import Axis, fill, get_mean, main, timed

from skvae.networks import MLP

ENCODERS = {"4 units": (4,), "as the decoder": (64, 64)}
COLUMNS = {"score": "ELBO", "refined": "refined ELBO", "evidence": "log p(x)"}


class Lopsided(MLP):
    """An encoder of other layers than the decoder."""

    def __init__(self, encoder_sizes=(4,), hidden_layer_sizes=(64, 64)):
        self.encoder_sizes = encoder_sizes
        super().__init__(hidden_layer_sizes)

    def make_encoder(self, n_inputs, n_copies=None):
        """Return the body of the encoder, and its width."""
        return MLP(self.encoder_sizes).make_encoder(n_inputs, n_copies)


def make_rows(n, seed):
    """Return rows (n, 10) of two factors, curved."""
    fixed, draw = np.random.default_rng(0), np.random.default_rng(seed)
    inner, outer = fixed.standard_normal((2, 20)), fixed.standard_normal((20, 10))
    z = draw.standard_normal((n, 2))
    return np.sin(1.5 * z @ inner) @ outer / 4 + 0.1 * draw.standard_normal((n, 10))


def measure(options, encoder, n_refine, seed):
    """Return mean scores of test rows, nats, and the seconds of training."""
    from skvae import VAETransformer
    from skvae.latents import Gaussian
    from skvae.objectives import ELBO

    vae = VAETransformer(
        2,
        likelihood="gaussian",
        latent=Gaussian(prior="standard"),
        network=Lopsided(ENCODERS[encoder]),
        objective=ELBO(n_refine=n_refine),
        max_epochs=2 if options.quick else 100,
        n_draws=64,
        random_state=seed,
        device="cpu",
    )
    _, seconds = timed(vae.fit, make_rows(2000, 2 * seed + 1))
    rows = make_rows(1000, 2 * seed + 2)
    score = vae.score_samples(rows)
    refined = vae.score_samples(rows, "refined")
    # a bound, too, and a loose one where q is far away
    evidence = vae.score_samples(rows, "evidence", n_draws=2000)
    return {
        "score": score.mean(),
        "refined": refined.mean(),
        "evidence": np.maximum(evidence, refined).mean(),
        "seconds": seconds,
        "epochs": vae.n_iter_,
    }


def summarize(part):
    """Return the cells of a line: means over seeds."""
    cells = {name: fill(get_mean(part, key), ".2f") for key, name in COLUMNS.items()}
    gap = get_mean(part, "evidence") - get_mean(part, "score")
    cells["gap"] = f"{gap:.2f}"
    cells["gap, refined"] = (
        f"{get_mean(part, 'evidence') - get_mean(part, 'refined'):.2f}"
    )
    cells["epochs"] = fill(get_mean(part, "epochs"), ".0f")
    cells["s"] = fill(get_mean(part, "seconds"), ".0f")
    return cells


if __name__ == "__main__":
    main(
        __doc__,
        [
            Axis("encoder", "--encoders", ("4 units",), ENCODERS),
            Axis("n_refine", "--steps", (0, 1, 5)),
            Axis("seed", "--seeds", (0, 1, 2)),
        ],
        measure,
        (["encoder", "n_refine"], summarize),
    )
