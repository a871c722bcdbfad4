"""VAEModule: encoder, decoder and prior; owner of every weight."""

import math
from types import SimpleNamespace

import torch
from torch import nn

from .._utils._device import scoring_dtype
from .._utils._missing import NEUTRAL, find_missing
from ..networks import Linear
from ._bodies import measure_body
from ._evidence import VAEOutput

# Corrections see their inputs squashed to ±8 standard deviations: one outlier cannot
# throw what was learned from ordinary rows, while the linear start still sees it all.
SQUASH = 8.0
# standard deviations beyond which the networks see no difference
_FARTHEST = 1e30


def squash(u):
    """Return u, bounded smoothly by ±8."""
    return SQUASH * torch.tanh(u / SQUASH)


class OutputHead(Linear):
    """An affine map of z, beside a body that gives the raw outputs itself."""

    def forward(self, h):
        """Return the sum of the two, which lie side by side in h."""
        z, outputs = h.tensor_split([self.weight.shape[-2]], dim=-1)
        return outputs + super().forward(z)


class VAEModule(nn.Module):
    """Encoder, decoder and prior around a fixed linear start.

    The encoder's raw outputs are corrections to the linear posterior, in units of its
    standard deviation; the decoder's are corrections to the linear prediction, in units
    of the linear model's noise. With all corrections at zero the module is the linear
    model, and one optimizer step moves every column by a comparable amount.

    Parameters
    ----------
    network, latent, likelihood : Network, Latent, Likelihood
    start : dict of str to Tensor
        See `_start`. With a leading dimension, one start for each copy.
    n_copies : int or None
        Train so many copies side by side on ``(..., n_copies, n, n_features)``.
    is_corrected : bool
        Whether heads start at zero, that is, at the linear start.
    sees_missing : bool
        Whether the encoder's network is told which cells of a row are missing.
    """

    def __init__(
        self,
        network,
        latent,
        likelihood,
        start,
        n_copies=None,
        is_corrected=True,
        sees_missing=False,
    ):
        super().__init__()
        n_inputs, n_components = start["encoder_weight"].shape[-2:]
        n_features = start["log_range"].shape[-1]
        self.n_flags = sees_missing * n_features
        self.network, self.latent, self.likelihood = network, latent, likelihood
        self.n_features, self.n_components = n_features, n_components
        self.n_inputs = n_inputs
        self.n_copies, self.is_corrected = n_copies, is_corrected
        self.start_names = tuple(start)
        for name, value in start.items():
            self.register_buffer(name, value)
        self._cast = {}
        # a textbook network has no affine path beside its hidden layers
        has_path = is_corrected or network.is_linear
        self.n_widest = self.n_repeated = 0
        n_seen = n_inputs + self.n_flags
        self.encoder, n_hidden = network.make_encoder(n_seen, n_copies)
        self._measure("encoder", n_seen, n_hidden)
        self.encoder_head = Linear(
            has_path * n_seen + n_hidden,
            math.prod(latent.raw_shape(n_components)),
            n_copies,
            is_corrected,
        )
        self.raw_shape = likelihood.raw_shape(n_features)
        self.start_shape = likelihood.start_shape(n_features)
        n_outputs = math.prod(self.raw_shape)
        # several values a column are compared with one another, row by row
        self.rows_last = n_outputs > 2 * n_features
        if network.has_outputs:
            self.decoder, _ = network.make_decoder(
                n_components, n_copies, n_raw=likelihood.n_raw, zero=is_corrected
            )
            self._measure("decoder", n_components, n_outputs, (1,))
            self.decoder_head = OutputHead(
                has_path * n_components, n_outputs, n_copies, zero=True
            )
        else:
            self.decoder, n_hidden = network.make_decoder(n_components, n_copies)
            self._measure("decoder", n_components, n_hidden, (1,))
            self.decoder_head = Linear(
                has_path * n_components + n_hidden,
                n_outputs,
                n_copies,
                is_corrected,
                rows_last=self.rows_last,
            )
        copies = (1,) if n_copies is None else (n_copies, 1)
        self.free = nn.Parameter(
            torch.zeros(
                *copies, *likelihood.free_shape(n_features), dtype=torch.float32
            )
        )
        inputs = {"n_inputs": n_inputs} if latent.needs_inputs else {}
        self.prior = latent.make_prior(n_components, n_copies, **inputs)
        self._is_encoded = getattr(self.prior, "needs_encoder", False)
        self.known_prior = None

    def _measure(self, kind, n_inputs, n_outputs, leading=()):
        """Refuse a body of another width than its head takes; note what it needs."""
        if self.network.is_linear:
            return
        copies = () if self.n_copies is None else (self.n_copies,)
        shape = (*leading, *copies, 1, n_inputs)
        source = f"the n_outputs that make_{kind} returned"
        if kind == "decoder" and self.network.has_outputs:
            n_raw = self.likelihood.n_raw
            source = (
                f"n_raw * n_features = {n_raw} * {self.n_features}: the raw outputs "
                "of the likelihood, which has_outputs=True promises"
            )
        message = (
            f"network={self.network!r}: the {kind}'s body maps {shape} to {{given}}, "
            f"but the last dimension must be {n_outputs}, {source}."
        )
        body = getattr(self, kind)
        widest, repeated = measure_body(body, shape, n_outputs, message)
        self.n_widest = max(self.n_widest, widest)
        self.n_repeated += repeated

    @property
    def dtype(self):
        """Data type of the learned weights; the linear start follows its input."""
        return self.decoder_head.weight.dtype

    def _get_start(self, dtype):
        """Return the buffers of the linear start in the given precision."""
        if dtype not in self._cast:
            start = {name: getattr(self, name).to(dtype) for name in self.start_names}
            self._cast[dtype] = self._simplify(start)
        return self._cast[dtype]

    @staticmethod
    def _simplify(start):
        """Return buffers by name; None for what changes nothing, and costs nothing."""
        neutral = {
            "encoder_centre": 0.0,
            "encoder_weight": 0.0,
            "encoder_bias": 0.0,
            "decoder_weight": 0.0,
            "input_noise": 0.0,
            "input_scale": 1.0,
            "posterior_scale": 1.0,
        }
        start = dict(start)
        for name, value in neutral.items():
            if name not in start or (start[name] == value).all():
                start[name] = None
        return SimpleNamespace(**start)

    @property
    def is_single(self):
        """Whether double precision of the input would change nothing."""
        start = self._get_start(torch.float64)
        names = ("encoder_centre", "encoder_weight", "decoder_weight", "input_scale")
        is_empty = all(getattr(start, name) is None for name in names)
        return self.dtype == torch.float32 and is_empty

    def _apply(self, fn, recurse=True):
        self._cast = {}
        return super()._apply(fn, recurse)

    def _load_from_state_dict(self, *args):
        self._cast = {}
        super()._load_from_state_dict(*args)

    def __getstate__(self):
        return {**super().__getstate__(), "_cast": {}}

    def _hide(self, u, body):
        """Return what a head sees: a body, and beside a linear start its own input."""
        if self.network.is_linear:
            return u
        if not self.is_corrected:
            return body(u)
        u = squash(u)
        return torch.cat([u, body(u)], dim=-1)

    def encode(self, x):
        """Return q(z|x) for x (..., n, n_features), missing cells being NaN."""
        start = self._get_start(x.dtype)
        u, loc, scale, missing = self._see(x, start)
        if start.input_scale is not None:
            u = u * start.input_scale
        return self._encode_standard(u, loc, scale, missing)

    def _encode_seen(self, seen, missing):
        """Return q(z|x) for what `see` returned."""
        sizes = self.n_inputs + self.n_flags, self.n_components, self.n_components
        u, loc, scale = seen.split(sizes, dim=-1)
        return self._make_posterior(u, loc, scale, missing)

    def _see(self, x, start, keeps_root=False):
        """Return what the encoder makes of rows before anything is learned.

        Parameters
        ----------
        x : Tensor (..., n, n_features)
        start : SimpleNamespace
            From `_get_start`.
        keeps_root : bool, default=False
            Whether scale may be a root of the covariance.

        Returns
        -------
        u : Tensor (..., n, n_inputs)
            Their representation, centred; where cells are missing, what the linear
            start expects of them.
        loc : Tensor (..., n, n_components) or None
            Mean of the linear start's posterior; None is zero.
        scale : Tensor broadcastable to (..., n, n_components) or None
            Its standard deviation; None is one. A lower triangular root of the
            covariance, with one more dimension, where cells are missing and the latent
            takes it or the caller does.
        missing : Tensor of bool (..., n, n_features) or None
        """
        missing = find_missing(x)
        if missing is not None:
            x = torch.where(missing, NEUTRAL, x)
        u = self.likelihood.represent(x)
        if start.encoder_centre is not None:
            u = u - start.encoder_centre
        if missing is None:
            return u, self._locate(u, start), start.posterior_scale, None
        columns = self.likelihood.get_input_columns(self.n_features)
        hidden = missing if columns is None else missing[..., columns]
        u = u.masked_fill(hidden, 0.0)
        if start.encoder_weight is None or start.input_noise is None:
            return u, self._locate(u, start), start.posterior_scale, missing
        u, loc, scale = self._expect(u, hidden, start, keeps_root)
        return u, loc, scale, missing

    def _expect(self, u, hidden, start, keeps_root=False):
        """Return rows with what the linear start expects of hidden values.

        With V = Ψ⁻¹ W the posterior given the observed values o is that of factor
        analysis for them alone: precision P = I + V_oᵀ Ψ_o V_o, mean P⁻¹ V_oᵀ u_o. At
        the expected values of the others, ψ_j v_jᵀ mean, a complete row has the same
        mean. Of normals with independent components the best has the variances 1 / P_kk
        (Bishop 2006, eq. 10.12).

        The scale is that, or a root of P⁻¹ for whoever takes one.
        """
        dtype = scoring_dtype(u.device)
        # noise may be 1e12 times smaller than what it leaves of a column
        weight, noise = (t.to(dtype) for t in (start.encoder_weight, start.input_noise))
        if start.posterior_scale is not None:
            weight = weight / start.posterior_scale.to(dtype).square()
        noisy = weight * noise.mT  # (..., n_inputs, n_components)
        products = (noisy.unsqueeze(-1) * weight.unsqueeze(-2)).flatten(-2)
        precision = (~hidden).to(dtype) @ products
        n_components = weight.shape[-1]
        precision = precision.unflatten(-1, (n_components, n_components))
        identity = torch.eye(n_components, dtype=dtype, device=u.device)
        precision = precision + identity
        # P = U Uᵀ with U upper triangular: P⁻¹ = L Lᵀ with L = U⁻ᵀ
        root = torch.linalg.cholesky_ex(precision.flip(-1, -2)).L.flip(-1, -2)
        root = torch.linalg.solve_triangular(root, identity, upper=True).mT
        loc = (u.to(dtype) @ weight).unsqueeze(-1)
        loc = (root @ (root.mT @ loc)).squeeze(-1)
        expected = (loc @ noisy.mT).to(u)
        scale = root
        if not (keeps_root or self.latent.takes_root):
            scale = precision.diagonal(dim1=-2, dim2=-1).rsqrt()
        return torch.where(hidden, expected, u), loc.to(u), scale.to(u)

    def get_root(self, x):
        """Return how the linear start's components go together, given observed cells.

        Returns
        -------
        Tensor (..., n, n_components, n_components) or None
            Lower triangular: a root of the posterior covariance, its rows in units of
            the standard deviations of the best independent components. None where they
            are independent, or nothing is known of it.
        """
        _, loc, root, missing = self._see(x, self._get_start(x.dtype), keeps_root=True)
        if missing is None or root is None or root.dim() == loc.dim():
            return None
        identity = torch.eye(root.shape[-1], dtype=root.dtype, device=root.device)
        inverse = torch.linalg.solve_triangular(root, identity, upper=False)
        # P = L⁻ᵀ L⁻¹, and the best independent variances are 1 / P_kk
        return root * inverse.square().sum(dim=-2).sqrt().unsqueeze(-1)

    @staticmethod
    def _locate(u, start):
        """Return what the start says of representations that are centred, or None."""
        loc = None if start.encoder_weight is None else u @ start.encoder_weight
        if start.encoder_bias is not None:
            # only mixtures have it, and only mixtures of one have no slope
            loc = start.encoder_bias if loc is None else loc + start.encoder_bias
            loc = loc.expand(*u.shape[:-1], -1)
        return loc

    @property
    def n_seen(self):
        """Values of a row in what `see` returns."""
        return self.n_inputs + self.n_flags + 2 * self.n_components

    def see(self, x):
        """Return what encoder and latent are given of rows, none of which is learned.

        Parameters
        ----------
        x : Tensor (..., n, n_features)
            Missing cells are NaN.

        Returns
        -------
        Tensor (..., n, n_seen)
            Side by side the encoder's input, and mean and standard deviation of the
            linear start's posterior, in units of `Latent.unit`.
        """
        start = self._get_start(x.dtype)
        u, loc, scale, missing = self._see(x, start)
        if start.input_scale is not None:
            u = u * start.input_scale
        u = self._flag(u, missing)
        shape = *u.shape[:-1], self.n_components
        loc = u.new_zeros(shape) if loc is None else loc.to(u)
        scale = u.new_ones(shape) if scale is None else scale.to(u).expand(shape)
        return torch.cat([u, loc, scale], dim=-1)

    def encode_standard(self, u):
        """Return q(z|x) for representations that are centred and scaled already."""
        start = self._get_start(u.dtype)
        scale = 1.0 if start.input_scale is None else start.input_scale
        loc = self._locate(u / scale, start)
        return self._encode_standard(u, loc, start.posterior_scale)

    def _flag(self, u, missing):
        """Return what the encoder's network sees: u, and which cells are missing."""
        if u.dtype != self.dtype:
            # finite in single precision too
            u = u.clamp(-_FARTHEST, _FARTHEST).to(self.dtype)
        if not self.n_flags:
            return u
        flags = u.new_zeros(*u.shape[:-1], self.n_flags)
        return torch.cat([u, flags if missing is None else missing.to(u)], dim=-1)

    def _encode_standard(self, u, loc, scale, missing=None):
        if loc is None:
            loc = u.new_zeros(*u.shape[:-1], self.n_components)
        if scale is None:
            scale = loc.new_ones(1, self.n_components)
        return self._make_posterior(self._flag(u, missing), loc, scale, missing)

    def _make_posterior(self, u, loc, scale, missing):
        """Return q(z|x) for what the network sees, and the linear start's posterior."""
        raw = self.encoder_head(self._hide(u, self.encoder))
        if missing is not None:
            # a row of which nothing is known has the prior
            raw = raw.masked_fill(missing.all(dim=-1, keepdim=True), 0.0)
        raw = raw.unflatten(-1, self.latent.raw_shape(self.n_components))
        if self.latent.unit != 1:
            loc, scale = loc * self.latent.unit, scale * self.latent.unit
        return self.make_posterior(raw, loc, scale)

    def make_posterior(self, raw, loc, scale):
        """Return q(z|x) from what `Latent.posterior` takes."""
        shared = {"prior": self.prior} if self.latent.shares_prior else {}
        return self.latent.posterior(raw, loc, scale, **shared)

    def get_prior(self):
        """Return p(z)."""
        if self.known_prior is not None:
            return self.known_prior
        return self.prior(self.encode_standard) if self._is_encoded else self.prior()

    def freeze_prior(self):
        """Work out p(z) once, for a module whose weights never change again."""
        self.known_prior = self.get_prior()

    def decode(self, z):
        """Return p(x|z) for z (..., n, n_components)."""
        start = self._get_start(z.dtype)
        z = self.latent.show(z)
        if start.decoder_weight is None:
            predicted = start.decoder_bias.expand(*z.shape[:-1], -1)
        else:
            weight, bias = start.decoder_weight, start.decoder_bias
            predicted = Linear.apply_affine(z, weight, bias, self.rows_last)
        u = z.to(self.dtype)
        raw = self.decoder_head(self._hide(u, self.decoder))
        raw = raw.unflatten(-1, self.raw_shape)
        predicted = predicted.unflatten(-1, self.start_shape)
        free = self.free.to(z.dtype)
        return self.likelihood(raw.to(z.dtype), free, predicted, start.log_range)

    def forward(self, x, noise=None, n_draws=1, may_sum=True, seen=None):
        """Return all that is known of a batch.

        Parameters
        ----------
        x : Tensor (..., n, n_features)
        noise : Tensor (n_draws, n_components), default=None
            Standard draws that all rows share, or nothing but a sign that a latent of
            few values should enumerate them; None draws fresh ones for every row.
        n_draws : int, default=1
            Fresh draws per row.
        may_sum : bool, default=True
            Whether a latent of few values may go through them instead.
        seen : Tensor (..., n, n_seen), default=None
            What `see` returns for the rows, if it is known.
        """
        if noise is not None:
            shape = (len(noise),) + (1,) * (x.dim() - 1) + (self.n_components,)
            noise = noise.reshape(shape).to(x)
        if seen is None:
            posterior = self.encode(x)
        else:
            posterior = self._encode_seen(seen, find_missing(x))
        return self.complete(posterior, noise, n_draws, may_sum)

    def complete(self, posterior, noise=None, n_draws=1, may_sum=True):
        """Return the output for a posterior: draws from it, and what they say of x.

        Parameters
        ----------
        posterior : Distribution
        noise : Tensor broadcastable to (n_draws, ..., n_components), default=None
        n_draws : int, default=1
        may_sum : bool, default=True
        """
        states = None
        if may_sum:
            is_step = noise is None
            states = self.latent.enumerate(self.n_components, in_training=is_step)
        if states is None:
            z = self.latent.draw(posterior, noise, n_draws)
            decoded, unit = self.decode(z), self.latent.unit
            return VAEOutput(posterior, self.get_prior(), decoded, z, unit=unit)
        # (n_values, ..., 1, n_components): p(x|z) does not depend on the row
        *leading, _ = posterior.batch_shape
        z = states.to(self.free.device)[:, *(None,) * len(posterior.batch_shape)]
        z = z.to(posterior.mean.dtype).expand(-1, *leading, -1, -1)
        output = VAEOutput(posterior, self.get_prior(), self.decode(z), z)
        output.log_share = posterior.log_prob(z)
        return output

    @torch.no_grad()
    def start_members(self, x, generator):
        """Let likelihood and prior fit themselves to draws of the linear start.

        Parameters
        ----------
        x : list of Tensor (n, n_features)
            Training rows of every copy.
        generator : numpy Generator
        """
        is_stacked, names = self.n_copies is not None, self.start_names
        for copy, rows in enumerate(x):
            # in float64, which not every device has
            start = {name: getattr(self, name).cpu().double() for name in names}
            if is_stacked:
                start = {name: value[copy] for name, value in start.items()}
            rows = rows.cpu().double()
            noise = torch.as_tensor(
                generator.standard_normal((len(rows), self.n_components))
            )
            inputs, loc, scale, _ = self._see(
                rows, self._simplify(start), keeps_root=True
            )
            loc = torch.zeros_like(noise) if loc is None else loc
            scale = torch.ones_like(noise) if scale is None else scale
            if scale.dim() > loc.dim():
                # rows with missing cells: draws that depend on one another
                noise = (scale @ noise.unsqueeze(-1)).squeeze(-1)
                scale = torch.ones_like(noise)
            z = self.latent.draw_start(loc, scale, noise)
            if self.likelihood.has_start:
                predicted = z @ start["decoder_weight"] + start["decoder_bias"]
                predicted = predicted.unflatten(-1, self.start_shape)
                found = self.likelihood.fit_start(
                    rows, predicted, start["log_range"][0]
                )
                raw, free = self.decoder_head.bias, self.free
                if is_stacked:
                    raw, free = raw[copy], free[copy]
                raw.add_(found[0].flatten().to(raw))
                free.add_(found[1].to(free))
            seed = int(generator.integers(2**31 - 1))
            seen = inputs * start["input_scale"] if self._is_encoded else z
            for name, value in self.latent.start_prior(self.prior, seen, seed).items():
                parameter = getattr(self.prior, name)
                target = parameter[copy] if is_stacked else parameter
                target.copy_(value.reshape(target.shape))

    @torch.no_grad()
    def select(self, copy=-1):
        """Return one copy as a module of its own."""
        if self.n_copies is None:
            return self
        start = {name: getattr(self, name)[copy].clone() for name in self.start_names}
        with torch.random.fork_rng(devices=[]):
            module = VAEModule(
                self.network,
                self.latent,
                self.likelihood,
                start,
                is_corrected=self.is_corrected,
                sees_missing=self.n_flags > 0,
            ).to(self.free.device)
        stacked = dict(self.named_parameters())
        for name, parameter in module.named_parameters():
            parameter.copy_(stacked[name][copy].reshape(parameter.shape))
        return module.train(self.training)

    def count_draws(self, n_draws):
        """Return the values of z that a row's score goes through."""
        states = self.latent.enumerate(self.n_components)
        return n_draws if states is None else len(states)

    def count_widest(self):
        """Return the values a row has in the widest tensor of a pass."""
        outputs = [p.shape[-1] for p in self.parameters() if p.dim() > 1]
        # pseudo-inputs are no tensor of a row's
        prior = getattr(self.prior, "n_widest", None)
        if prior is None:
            prior = max((p.numel() for p in self.prior.parameters()), default=0)
        predicted = self.decoder_bias.shape[-1]
        return max(*outputs, prior, predicted, self.n_features, self.n_widest, 256)

    def count_work(self, batch_size):
        """Return the floating-point operations of one training step, about."""
        products = sum(p.numel() for p in self.parameters() if p.dim() > 1)
        products += self.n_repeated
        return 6 * batch_size * products
