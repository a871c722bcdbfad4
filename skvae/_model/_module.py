"""VAEModule: x to q(z|x) by the encoder, z to p(x|z) by the decoder, and the prior."""

import math

import numpy as np
import torch
from torch import nn
from typing_extensions import override

from .._utils._draws import draw_privately
from .._utils._missing import find_missing
from ..likelihoods import PerColumn
from ..networks import Linear
from ..networks._layers import squash
from ._cost import count_widest, measure_bodies
from ._evidence import VAEOutput
from ._linear_start import LinearStart
from ._map_start import MapStart
from ._precision import DRAWS_TOGETHER, make_single
from ._trial import try_members

# standard deviations beyond which inputs of the networks are the same
_FARTHEST = 1e30
# columns up to which the decoder's head is full; with more its rank is in a range, and
# has as many weights as it may have
_MAX_FULL_COLUMNS, _MAX_HEAD_WEIGHTS, _RANKS = 300, 2**22, (16, 64)
# how much larger than torch's initial weights are those before a head of low rank
_NECK_GAIN = 3.0


class OutputHead(Linear):
    """An affine map of z, added to the raw outputs of a body."""

    @override
    def forward(self, h):
        """Return the sum for h, in which z and the raw outputs lie side by side."""
        z, outputs = h.tensor_split([self.weight.shape[-2]], dim=-1)
        return outputs + super().forward(z)


class VAEModule(nn.Module):
    """Encoder, decoder and prior around a fixed linear start.

    The encoder's raw outputs are corrections to the linear posterior, in units of its
    standard deviation; the decoder's are corrections to the linear prediction, in units
    of the linear model's noise. With all corrections at zero the module is the linear
    model, and one optimizer step moves every column by a comparable amount.

    ``linear_start`` has the tensors of `LinearStart`, or is a `MapStart`, whose z is
    kept. ``n_copies`` is the number of folds trained side by side on (..., n_copies, n,
    n_features). ``is_corrected``: whether heads start at zero, that is, at the linear
    start; ``sees_missing``: whether the encoder's network has inputs that flag missing
    values. ``like`` is a module of the same members, which have been tried out there.
    """

    # of pickles that do not have it
    copies_inputs, known_widest = True, None
    # whether the decoder takes the draws of every row side by side, see `decode_single`
    decodes_by_row = False

    def __init__(
        self,
        network,
        latent,
        likelihood,
        linear_start,
        n_copies=None,
        is_corrected=True,
        sees_missing=False,
        like=None,
    ):
        super().__init__()
        # a map keeps its z: only p(x|z), prior and spread of q(z|x) are learned
        self.is_refined = isinstance(linear_start, MapStart)
        self.linear_start = (
            linear_start
            if self.is_refined
            else LinearStart(linear_start, likelihood.link)
        )
        self.n_inputs = n_inputs = self.linear_start.n_inputs
        self.n_components = n_components = self.linear_start.n_components
        self.n_features = n_features = self.linear_start.n_features
        likelihood = PerColumn.cover(likelihood, n_features)
        self.network, self.latent, self.likelihood = network, latent, likelihood
        # bodies of a user's own may overwrite their input, which is needed after them
        own = __name__.split(".")[0]
        self.copies_inputs = type(network).__module__.split(".")[0] != own
        self.n_flags = sees_missing * n_features
        self.n_copies, self.is_corrected = n_copies, is_corrected
        # a textbook network has no affine path beside its hidden layers
        has_path = is_corrected or network.is_linear
        n_flagged = n_inputs + self.n_flags
        self.encoder, n_hidden = network.make_encoder(n_flagged, n_copies)
        self.encoder_head = Linear(
            has_path * n_flagged + n_hidden,
            math.prod(latent.raw_shape(n_components)),
            n_copies,
            is_corrected,
        )
        self.raw_shape = likelihood.raw_shape(n_features)
        n_outputs, n_seen = math.prod(self.raw_shape), has_path * n_components
        # several values a column are compared with one another, row by row
        self.rows_last = n_outputs > 2 * n_features
        self.decoder_neck = None
        if network.has_outputs:
            outputs = {"n_raw": likelihood.n_raw, "zero": is_corrected}
            self.decoder, _ = network.make_decoder(n_components, n_copies, **outputs)
            self.decoder_head = OutputHead(n_seen, n_outputs, n_copies, zero=True)
            n_decoded = n_outputs
        else:
            self.decoder, n_decoded = network.make_decoder(n_components, n_copies)
            n_units = n_seen + n_decoded
            rank = self._choose_rank(n_outputs)
            if rank is not None and 2 * rank <= n_units:
                self.decoder_neck = Linear(n_units, rank, n_copies)
                self.decoder_neck.weight.data.mul_(_NECK_GAIN)
                n_units = rank
            self.decoder_head = Linear(
                n_units, n_outputs, n_copies, is_corrected, self.rows_last
            )
        for body in (self.encoder, self.decoder):
            make_single(body)
        if like is None:
            measured = measure_bodies(self, (n_hidden, n_decoded))
        else:
            measured = like.n_widest, like.n_repeated, like.single_bodies
        self.n_widest, self.n_repeated, self.single_bodies = measured
        folds = (1,) if n_copies is None else (n_copies, 1)
        self.free = nn.Parameter(
            torch.zeros(*folds, *likelihood.free_shape(n_features), dtype=torch.float32)
        )
        inputs = {"n_inputs": n_inputs} if latent.needs_n_inputs else {}
        self.prior = latent.make_prior(n_components, n_copies, **inputs)
        if self.is_refined:
            if latent.posterior_takes_prior:
                # the posterior would move with the prior
                self.prior = linear_start.map.prior
            else:
                self.prior.load_state_dict(linear_start.map.prior.state_dict())
        self.needs_encoder = getattr(self.prior, "needs_encoder", False)
        # noise of training rows, see `LinearStart.corrupt`
        self.corruption = 0.0
        self.register_buffer("column_weight", None)
        # of z in the estimator's methods: what `transform` returns is z times this
        self.register_buffer("z_unit", torch.ones(n_components))
        self.known_prior = self.known_widest = None
        make_single(self.prior)
        if like is None:
            try_members(self)

    @override
    def named_parameters(self, prefix="", recurse=True, remove_duplicate=True):
        """Yield the weights that are trained: those of a map are not."""
        known = f"{prefix}.linear_start." if prefix else "linear_start."
        found = super().named_parameters(prefix, recurse, remove_duplicate)
        return (pair for pair in found if not pair[0].startswith(known))

    def _choose_rank(self, n_outputs):
        """Return the rank of the decoder's head, None for a full one.

        Where many columns have several outputs each, nearly all weights and most of the
        work are in the head.
        """
        is_wide = self.rows_last and self.n_features > _MAX_FULL_COLUMNS
        if not is_wide or not self.is_corrected or self.network.is_linear:
            return None
        return int(np.clip(_MAX_HEAD_WEIGHTS // n_outputs, *_RANKS))

    @property
    def dtype(self):
        """Data type of the encoder's weights; the linear start follows its input."""
        return self.encoder_head.weight.dtype

    @property
    def needs_double(self):
        """Whether rows in double precision give other results than in single."""
        return self.dtype != torch.float32 or not self.linear_start.is_identity

    def _apply_body(self, kind, u):
        """Return the input of a head: a body's output, and beside it u itself."""
        if self.network.is_linear:
            return u
        if not self.is_corrected:
            return self._run_body(kind, u)
        u = squash(u)
        return torch.cat([u, self._run_body(kind, u)], dim=-1)

    def _run_body(self, kind, u):
        body = getattr(self, kind)
        if self.copies_inputs:
            u = u.clone()
        if kind in self.single_bodies:
            return body(u.to(torch.float32)).to(u.dtype)
        return body(u)

    def _infer(self, x):
        """Return the encoder's input, the linear start's posterior, what is missing."""
        keeps_root = self.latent.takes_scale_tril
        u, loc, scale, missing = self.linear_start.infer(x, keeps_root)
        return self._flag(u, missing), loc, scale, missing

    def encode(self, x, keeps_point=False):
        """Return q(z|x) for x (..., n, n_features), missing values being NaN.

        ``keeps_point``: with the point summaries of the map, also of incomplete rows.
        """
        return self._encode(*self._infer(x), keeps_point)

    def encode_point(self, x):
        """Return q(z|x) for callers that need only its point summaries.

        Those of a map are kept: its own encoder has them, and the other is not run.
        """
        return self.linear_start.encode(x) if self.is_refined else self.encode(x)

    @property
    def n_seen(self):
        """Number of values of a row that `see` returns."""
        return self.n_inputs + self.n_flags + 2 * self.n_components

    def see(self, x):
        """Return the inputs of encoder and latent, none of which depends on weights.

        Side by side ``(..., n, n_seen)`` they are the encoder's input, and mean and
        standard deviation of the linear start's posterior, in units of `Latent.unit`.
        """
        u, loc, scale, _ = self._infer(x)
        return torch.cat([u, loc.to(u), scale.to(u).expand_as(loc)], dim=-1)

    def encode_inputs(self, u):
        """Return q(z|x) for inputs of the encoder, centred and scaled already."""
        loc, scale = self.linear_start.infer_from_inputs(u)
        return self._encode(self._flag(u), loc, scale)

    def _flag(self, u, missing=None):
        """Return the input of the encoder's network: u, and flags of missing values."""
        if u.dtype != self.dtype:
            # finite in single precision too
            u = u.clamp(-_FARTHEST, _FARTHEST).to(self.dtype)
        if not self.n_flags:
            return u
        flags = u.new_zeros(*u.shape[:-1], self.n_flags)
        return torch.cat([u, flags if missing is None else missing.to(u)], dim=-1)

    def _encode(self, u, loc, scale, missing=None, keeps_point=False):
        """Return q(z|x) for what the encoder's body sees, and loc and scale."""
        raw = self._compute_raw(u, loc, scale, missing, keeps_point)
        return self.make_posterior(*raw)

    def _compute_raw(self, u, loc, scale, missing=None, keeps_point=False):
        """Return the arguments of `make_posterior`."""
        raw = self.encoder_head(self._apply_body("encoder", u))
        if missing is not None:
            # a row without observed values has the prior
            raw = raw.masked_fill(missing.all(dim=-1, keepdim=True), 0.0)
        shape = self.latent.raw_shape(self.n_components)
        raw = raw.unflatten(-1, shape).to(loc.dtype)
        if self.is_refined:
            kept = self.latent.keep_point(raw)
            if missing is not None and not keeps_point:
                # their posterior mean depends on p(x|z), which is trained here
                some = missing.any(dim=-1)[(..., *(None,) * len(shape))]
                kept = torch.where(some, raw, kept)
            raw = kept
        if self.latent.unit != 1:
            loc, scale = loc * self.latent.unit, scale * self.latent.unit
        return raw, loc, scale

    def make_posterior(self, raw, loc, scale):
        """Return q(z|x) from the arguments of `Latent.posterior`."""
        shared = {"prior": self.prior} if self.latent.posterior_takes_prior else {}
        return self.latent.posterior(raw, loc, scale, **shared)

    def get_prior(self):
        """Return p(z)."""
        if self.known_prior is not None:
            return self.known_prior
        return self.prior(self.encode_inputs) if self.needs_encoder else self.prior()

    def freeze_prior(self):
        """Compute p(z) once, for a module whose weights do not change any more."""
        self.known_prior = self.get_prior()
        self.known_widest = count_widest(self)

    def decode(self, z):
        """Return p(x|z) for z (..., n, n_components)."""
        z = self.latent.make_decoder_input(z)
        if not self.decodes_by_row:
            return self.likelihood(*self.compute_parameters(z))
        draws = (z if z.dim() > 2 else z.unsqueeze(0)).transpose(0, 1)
        n, n_draws, _ = draws.shape
        # all products have the same shape, however many rows and draws there are:
        # others may be rounded differently
        draws = nn.functional.pad(draws, (0, 0, 0, -n_draws % DRAWS_TOGETHER))
        draws = draws.reshape(-1, DRAWS_TOGETHER, self.n_components)
        raw, free, offset, log_range = self.compute_parameters(draws)

        def restore(values):
            values = values.flatten(0, 1).unflatten(0, (n, -1))[:, :n_draws]
            return values.transpose(0, 1) if z.dim() > 2 else values.squeeze(1)

        return self.likelihood(restore(raw), free, restore(offset), log_range)

    def compute_parameters(self, z):
        """Return what the likelihood takes, for z as the decoder sees it."""
        rows_last = self.rows_last and not self.decodes_by_row
        known, offset = self.linear_start.predict(z, rows_last)
        units = self._apply_body("decoder", z.to(self.decoder_head.weight.dtype))
        if self.decoder_neck is not None:
            units = self.decoder_neck(units)
        raw = self.decoder_head(units).unflatten(-1, self.raw_shape)
        if not self.decodes_by_row:
            raw = raw.to(z.dtype)
        if known is not None:
            raw = raw + known.to(raw.dtype)
        log_range = self.linear_start.cast(z.dtype).log_range
        return raw, self.free.to(z.dtype), offset, log_range

    def decode_shared(self, z, noise):
        """Return p(x|z) for draws of z (n_draws, ...) from noise that all rows share.

        What p(x|z) draws in place of missing cells follows from the noise (n_draws,
        ...), too. None are rows with noise of their own.
        """
        likelihood = self.decode(z)
        if hasattr(likelihood, "noise"):
            likelihood.noise = noise
        return likelihood

    def forward(self, x, noise=None, n_draws=1, may_sum=True, seen=None):
        """Return posterior, prior, draws of z and likelihood of a batch, a `VAEOutput`.

        ``noise`` (n_draws, n_components) are standard draws that all rows share; None
        makes ``n_draws`` new ones for every row. ``may_sum``: whether a latent with few
        values of z may take all of them instead. ``seen`` is what `see` returns for the
        rows, if that is known.
        """
        if noise is not None:
            shape = (len(noise),) + (1,) * (x.dim() - 1) + (self.n_components,)
            noise = noise.reshape(shape).to(x)
        if seen is None:
            u, loc, scale, missing = self._infer(x)
        else:
            sizes = self.n_inputs + self.n_flags, self.n_components, self.n_components
            u, loc, scale = seen.split(sizes, dim=-1)
            missing = find_missing(x)
        if self.training and self.corruption:
            u, loc = self.linear_start.corrupt(u, loc, missing, self.corruption)
        raw, loc, scale = self._compute_raw(u, loc, scale, missing)

        def infer(raw):
            posterior = self.make_posterior(raw, loc, scale)
            return self.complete(posterior, noise, n_draws, may_sum)

        output = infer(raw)
        output.raw, output.infer, output.decode = raw, infer, self.decode
        return output

    def complete(self, posterior, noise=None, n_draws=1, may_sum=True):
        """Return the output for a posterior, see `forward`: draws of z, and p(x|z)."""
        z, log_share = self.draw_latent(posterior, noise, n_draws, may_sum)
        if log_share is None:
            decoded, unit = self.decode_shared(z, noise), self.latent.unit
            weight = self.column_weight if self.training else None
            if weight is not None:
                # that of numbers falls with their noise
                variance = self.likelihood.get_shared_variance(decoded)
                weight = torch.where(weight == 1, weight, weight / variance)
            prior = self.get_prior()
            return VAEOutput(posterior, prior, decoded, z, None, unit, weight)
        if noise is not None:
            # of what p(x|z) draws itself
            noise = noise[torch.arange(len(z), device=noise.device) % len(noise)]
        decoded = self.decode_shared(z, noise)
        return VAEOutput(posterior, self.get_prior(), decoded, z, log_share)

    def draw_latent(self, posterior, noise=None, n_draws=1, may_sum=True):
        """Return draws of z from a posterior, see `forward`, and their log-weights.

        These are None where all draws count alike; see `VAEOutput`.
        """
        states = None
        if may_sum:
            is_step = noise is None
            states = self.latent.enumerate(self.n_components, in_training=is_step)
        if states is None:
            return self.latent.draw(posterior, noise, n_draws), None
        # (n_values, ..., 1, n_components): p(x|z) does not depend on the row
        *leading, _ = posterior.batch_shape
        states = states.to(self.free.device)
        z = states[(slice(None), *(None,) * len(posterior.batch_shape))]
        z = z.to(posterior.mean.dtype).expand(-1, *leading, -1, -1)
        return z, posterior.log_prob(z)

    @torch.no_grad()
    def select(self, fold=-1):
        """Return the module of one fold."""
        if self.n_copies is None:
            return self
        with draw_privately(0):
            module = VAEModule(
                self.network,
                self.latent,
                self.likelihood,
                self.linear_start.select(fold),
                is_corrected=self.is_corrected,
                sees_missing=self.n_flags > 0,
                like=self,
            ).to(self.free.device)
        stacked = dict(self.named_parameters())
        for name, parameter in module.named_parameters():
            parameter.copy_(stacked[name][fold].reshape(parameter.shape))
        # such as a temperature, which all folds share
        for buffer, value in zip(
            module.prior.buffers(), self.prior.buffers(), strict=True
        ):
            if buffer.shape == value.shape:
                buffer.copy_(value)
        module.corruption, module.column_weight = self.corruption, self.column_weight
        module.z_unit.copy_(self.z_unit)
        return module.train(self.training)
