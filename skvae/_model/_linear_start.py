"""The linear model that training starts from, as tensors that no training changes.

It has a posterior of z given x, and an offset of p(x|z) given z; the networks of
`VAEModule` learn corrections to both. `_start` fits it.
"""

from types import SimpleNamespace

import torch
from torch import nn
from typing_extensions import override

from .._utils._device import scoring_dtype
from .._utils._missing import NEUTRAL, find_missing
from ..networks import Linear

# values at which a tensor changes nothing, and its operation is left out
_IDENTITY = {
    "encoder_centre": 0.0,
    "encoder_weight": 0.0,
    "encoder_bias": 0.0,
    "decoder_weight": 0.0,
    "input_noise": 0.0,
    "input_scale": 1.0,
}


class LinearStart(nn.Module):
    """Linear posterior given x and linear offset given z.

    The tensors, by name as in `_start`, keep their precision; what is computed has that
    of the input. With a leading dimension there is one linear model for each fold. The
    link represents x as the input of the encoder.
    """

    def __init__(self, tensors, link):
        super().__init__()
        for name, value in tensors.items():
            self.register_buffer(name, value)
        self.link = link
        self.n_inputs, self.n_components = self.encoder_weight.shape[-2:]
        self.n_features = self.log_range.shape[-1]
        self.offset_shape = link.offset_shape(self.n_features)
        self._cast = {}

    def get_tensors(self, index=...):
        """Return copies of the tensors by name, all or those of one fold."""
        return {name: value[index].clone() for name, value in self.named_buffers()}

    def cast(self, dtype):
        """Return the tensors in the given precision; None for those without effect."""
        if dtype not in self._cast:
            tensors = {name: value.to(dtype) for name, value in self.named_buffers()}
            for name, value in _IDENTITY.items():
                if name not in tensors or (tensors[name] == value).all():
                    tensors[name] = None
            self._cast[dtype] = SimpleNamespace(**tensors)
        return self._cast[dtype]

    @property
    def is_identity(self):
        """Whether x itself is the network's input, and the offset does not depend on z.

        Then double precision adds nothing here.
        """
        names = ("encoder_centre", "encoder_weight", "decoder_weight", "input_scale")
        tensors = self.cast(torch.float64)
        return all(getattr(tensors, name) is None for name in names)

    @override
    def __setattr__(self, name, value):
        """Set an attribute; casts of another tensor of that name are forgotten."""
        if name in self.__dict__.get("_buffers", ()):
            self._cast = {}
        super().__setattr__(name, value)

    @override
    def _apply(self, fn, recurse=True):
        self._cast = {}
        return super()._apply(fn, recurse)

    @override
    def _load_from_state_dict(self, *args):
        self._cast = {}
        super()._load_from_state_dict(*args)

    @override
    def __getstate__(self):
        return {**super().__getstate__(), "_cast": {}}

    def infer(self, x, keeps_root=False):
        """Return the input of the encoder, and the posterior of the linear model.

        The input u (..., n, n_inputs) is x represented, centred and scaled, with
        expected values where x is missing. Mean and standard deviation of the posterior
        follow, broadcastable to (..., n, n_components); with missing values and
        ``keeps_root`` scale is a lower triangular root of the covariance, with one more
        dimension. The last result is where x is missing, or None.
        """
        tensors, missing = self.cast(x.dtype), find_missing(x)
        if missing is not None:
            x = torch.where(missing, NEUTRAL, x)
        u, scale = self.link.represent(x), tensors.posterior_scale
        if tensors.encoder_centre is not None:
            u = u - tensors.encoder_centre
        if missing is not None:
            columns = self.link.get_input_columns(self.n_features)
            hidden = missing if columns is None else missing[..., columns]
            u = u.masked_fill(hidden, 0.0)
        weight, noise = tensors.encoder_weight, tensors.input_noise
        if missing is None or weight is None or noise is None:
            loc = self._compute_loc(u)
        else:
            u, loc, scale = self._infer_missing(u, hidden, tensors, keeps_root)
        if tensors.input_scale is not None:
            u = u * tensors.input_scale
        return u, loc, scale, missing

    def corrupt(self, u, loc, missing, share):
        """Return inputs and posterior means of rows with some of their noise added.

        ``u`` and ``loc`` are those of `infer`; the standard deviation of what is added
        to an input is a share of its noise under the linear model.
        """
        tensors = self.cast(u.dtype)
        deviation = share * torch.ones_like(u[..., : self.n_inputs])
        if tensors.input_noise is not None:
            deviation = deviation * tensors.input_noise.sqrt()
        noise = deviation * torch.randn_like(deviation)
        if missing is not None:
            columns = self.link.get_input_columns(self.n_features)
            hidden = missing if columns is None else missing[..., columns]
            noise = noise.masked_fill(hidden, 0.0)
        if tensors.encoder_weight is not None:
            # of rows with missing cells as of others
            loc = loc + noise @ tensors.encoder_weight
        if tensors.input_scale is not None:
            noise = noise * tensors.input_scale
        if u.shape[-1] == self.n_inputs:
            return u + noise, loc
        flags = u[..., self.n_inputs :]
        return torch.cat([u[..., : self.n_inputs] + noise, flags], dim=-1), loc

    def _compute_loc(self, u):
        """Return the posterior mean given centred inputs."""
        tensors = self.cast(u.dtype)
        if tensors.encoder_weight is None:
            loc = u.new_zeros(*u.shape[:-1], self.n_components)
        else:
            loc = u @ tensors.encoder_weight
        # only mixtures have a bias
        return loc if tensors.encoder_bias is None else loc + tensors.encoder_bias

    @staticmethod
    def _infer_missing(u, hidden, tensors, keeps_root):
        """Return u with expected values where it is hidden, loc and scale.

        With V = Ψ⁻¹ W the posterior given the observed values o is that of factor
        analysis for them alone: precision P = I + V_oᵀ Ψ_o V_o, mean P⁻¹ V_oᵀ u_o. With
        the expected values of the others, ψ_j v_jᵀ mean, a complete row has the same
        mean. The best independent components have the variances 1 / P_kk (Bishop 2006,
        eq. 10.12). The scale is their root, or a root of P⁻¹.
        """
        dtype = scoring_dtype(u.device)
        # noise may be 1e12 times smaller than the variance of a column
        weight, noise = (
            tensor.to(dtype) for tensor in (tensors.encoder_weight, tensors.input_noise)
        )
        weight = weight / tensors.posterior_scale.to(dtype).square()
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
        scale = root if keeps_root else precision.diagonal(dim1=-2, dim2=-1).rsqrt()
        return torch.where(hidden, expected, u), loc.to(u), scale.to(u)

    def infer_from_inputs(self, u):
        """Return loc and scale of `infer` for inputs that are centred and scaled."""
        tensors = self.cast(u.dtype)
        scale = 1.0 if tensors.input_scale is None else tensors.input_scale
        return self._compute_loc(u / scale), tensors.posterior_scale

    def compute_root(self, x):
        """Return the posterior correlation of components given the observed values.

        It is a root of the posterior covariance, lower triangular, ``(..., n,
        n_components, n_components)``, its rows in units of the standard deviations of
        the best independent components; None where the components are independent.
        """
        _, loc, root, _ = self.infer(x, keeps_root=True)
        if root.dim() <= loc.dim():
            return None
        identity = torch.eye(root.shape[-1], dtype=root.dtype, device=root.device)
        inverse = torch.linalg.solve_triangular(root, identity, upper=False)
        # P = L⁻ᵀ L⁻¹, and the best independent variances are 1 / P_kk
        return root * inverse.square().sum(dim=-2).sqrt().unsqueeze(-1)

    def select(self, fold):
        """Return what the start of one fold is made of."""
        return self.get_tensors(fold)

    def make_precise(self, index):
        """Return the start of one fold in double precision, on the CPU."""
        return LinearStart(self.get_tensors(index), self.link).cpu().double()

    def draw(self, x, noise, latent):
        """Return the encoder's input of rows, and draws of z from their posterior."""
        u, loc, scale, _ = self.infer(x, keeps_root=True)
        if scale.dim() > loc.dim():
            # missing values: components depend on one another
            noise = (scale @ noise.unsqueeze(-1)).squeeze(-1)
            scale = torch.ones_like(noise)
        return u, latent.draw_initial(loc, scale, noise)

    def get_widening(self):
        """Return None: new rows are as far from what is decoded as training rows.

        A linear model has so few parameters; see `MapStart`.
        """
        return None

    def keep(self, raw, free):
        """Write into initial values what has been learned before: nothing."""

    @property
    def n_widest(self):
        """Number of values that a row has in the widest tensor."""
        return self.decoder_bias.shape[-1]

    def predict(self, z, rows_last=False):
        """Return raw outputs and offset given the decoder's input z.

        Raw outputs are None, for zeros; the offset ``(..., n, *offset_shape)`` is the
        linear prediction.
        """
        tensors = self.cast(z.dtype)
        if tensors.decoder_weight is None:
            offset = tensors.decoder_bias.expand(*z.shape[:-1], -1)
        else:
            offset = Linear.apply_affine(
                z, tensors.decoder_weight, tensors.decoder_bias, rows_last
            )
        return None, offset.unflatten(-1, self.offset_shape)
