"""The VAE of any tutorial in plain torch, and one ELBO for every contender."""

import math

import torch
from torch import nn
from torch.distributions import Bernoulli, Normal
from torch.nn import functional as F

_LOG_2PI = math.log(2 * math.pi)


def make_body(n_inputs, sizes):
    """Return fully connected layers, each followed by ReLU."""
    layers = []
    for size in sizes:
        layers += [nn.Linear(n_inputs, size), nn.ReLU()]
        n_inputs = size
    return nn.Sequential(*layers)


class VAE(nn.Module):
    """Fully connected encoder and decoder.

    The noise of a column is Bernoulli, or normal of variance 1 or of a learned one.
    """

    def __init__(self, n_features, work):
        super().__init__()
        hidden, n_components = work.hidden, work.n_components
        self.is_binary = work.likelihood == "bernoulli"
        self.encoder = make_body(n_features, hidden)
        self.mu = nn.Linear(hidden[-1], n_components)
        self.logvar = nn.Linear(hidden[-1], n_components)
        self.decoder = make_body(n_components, hidden[::-1])
        self.decoder.append(nn.Linear(hidden[0], n_features))
        self.log_noise = (
            nn.Parameter(torch.zeros(n_features)) if work.learns_noise else None
        )

    def forward(self, x):
        """Return the decoder's output for one draw, and mean and log variance of z."""
        mu, logvar = self.encode(x)
        z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)
        return self.decoder(z), mu, logvar

    def encode(self, x):
        """Return mean and log variance of z."""
        h = self.encoder(x)
        return self.mu(h), self.logvar(h)

    def compute_elbo_samples(self, x, raw, mu, logvar):
        """Return the ELBO of every row, nats, all constants included."""
        if self.is_binary:
            nll = F.binary_cross_entropy_with_logits(raw, x, reduction="none").sum(1)
        else:
            error = (x - raw) ** 2
            if self.log_noise is not None:
                error = error * torch.exp(-self.log_noise) + self.log_noise
            nll = 0.5 * (error + _LOG_2PI).sum(1)
        kl = 0.5 * (mu**2 + logvar.exp() - logvar - 1).sum(1)
        return -nll - kl

    def compute_loss(self, x, raw, mu, logvar):
        """Return what training minimises: the mean of the negative ELBO."""
        return -self.compute_elbo_samples(x, raw, mu, logvar).mean()

    def decode(self, z):
        """Return p(x|z)."""
        raw = self.decoder(z)
        if self.is_binary:
            return Bernoulli(logits=raw)
        variance = 1.0 if self.log_noise is None else self.log_noise.exp()
        return Normal(raw, torch.as_tensor(variance).sqrt())


@torch.no_grad()
def compute_elbo(encode, decode, X, n_draws=16):
    """Return the mean ELBO of rows, nats, from fixed noise that rows do not share.

    ``encode`` maps rows to mean and log variance of z, ``decode`` z to p(x|z).
    """
    x = torch.from_numpy(X)
    generator = torch.Generator().manual_seed(0)
    mu, logvar = encode(x)
    elbo = -0.5 * (mu**2 + logvar.exp() - logvar - 1).sum(1)
    for _ in range(n_draws):
        z = mu + torch.exp(0.5 * logvar) * torch.randn(mu.shape, generator=generator)
        elbo += decode(z).log_prob(x).sum(1) / n_draws
    return float(elbo.mean())
