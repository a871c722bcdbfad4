"""A trained map in the place of the linear model that training starts from.

`VAEModule` then learns p(x|z) around what the map decodes, and keeps the map's z.
"""

import copy
from typing import NamedTuple

import torch
from torch import nn
from typing_extensions import override

from ._cost import count_widest
from ._precision import convert


def freeze(module):
    """Return a map whose weights training does not change."""
    learned = [n for n, p in module.named_parameters() if p.requires_grad]
    if learned:
        # others are frozen for good, and stay so in `thaw`
        module.learned_weights = learned
    return module.requires_grad_(False).eval()


def thaw(module):
    """Return a map whose weights may be trained again."""
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name in module.learned_weights)
    return module


class MapStart(nn.Module):
    """Posterior and decoded columns of a trained `VAEModule`, which do not change.

    It has the interface of `LinearStart`.

    Parameters
    ----------
    module : VAEModule
        The map. Its weights are no parameters of a module around it.
    likelihood : PerColumn
        The likelihood of the module around it. Where it has another likelihood for
        columns of numbers, what the map decodes is their location; all other columns
        start with the distributions of the map.
    ratio : Tensor (..., 1, n_features)
        Units of the rows of the module around it, in those of the map.
    log_range : Tensor (..., 1, n_features)
        How far log scales may fall below 0.
    widening : float, default=1.0
        By how much numbers of new rows are farther from what is decoded than those of
        training rows.
    """

    def __init__(self, module, likelihood, ratio, log_range, widening=1.0):
        super().__init__()
        self.map = freeze(module)
        self.register_buffer("ratio", ratio)
        self.register_buffer("log_range", log_range)
        self.likelihood, self.link = likelihood, likelihood.link
        self.widening = widening
        self.n_inputs, self.n_components = module.n_inputs, module.n_components
        self.n_features = module.n_features
        self.sources = self._match(likelihood)

    def _match(self, likelihood):
        """Return, for every group of columns, where it comes from.

        It is the number of a group of the map, and which of its columns are meant; None
        are all of them, with the likelihood that they have already.
        """
        groups, found = self.map.likelihood.list_groups(), []
        for member, columns in likelihood.list_groups():
            for number, (source, sources) in enumerate(groups):
                if columns[0] not in sources:
                    continue
                is_kept = repr(source) == repr(member) and len(sources) == len(columns)
                place = {column: i for i, column in enumerate(sources)}
                index = [place[column] for column in columns]
                found.append((number, None if is_kept else torch.as_tensor(index)))
        return found

    @override
    def train(self, mode=True):
        """Keep the map as it is when it is evaluated."""
        return super().train(False)

    is_identity = False

    def select(self, fold):
        """Return the start of one fold."""
        index = ... if self.map.n_copies is None else fold
        return MapStart(
            self.map.select(fold),
            self.likelihood,
            self.ratio[index].clone(),
            self.log_range[index].clone(),
            self.widening,
        )

    def make_precise(self, index):
        """Return the start of one fold in double precision, on the CPU."""
        start = self.select(-1 if index is ... else index)
        if self.ratio.device.type != "cpu":
            # without folds the map is the one that is trained on
            start = copy.deepcopy(start).cpu()
        return convert(start, torch.float64)

    def cast(self, dtype):
        """Return the tensors that a decoder reads, in the given precision."""
        return _Tensors(self.log_range.to(dtype))

    def infer(self, x, keeps_root=False):
        """Return the input of the encoder, and the posterior of the map.

        See `LinearStart.infer`.
        """
        u, posterior, missing = self._encode(x)
        return u, *self._get_loc_scale(posterior), missing

    def encode(self, x):
        """Return q(z|x) of the map."""
        return self._encode(x)[1]

    def _encode(self, x):
        """Return the input of the encoder, q(z|x) of the map, and what is missing."""
        module = self.map
        u, loc, scale, missing = module._infer(x * self.ratio.to(x.dtype))
        posterior = module._encode(u, loc, scale, missing)
        return u[..., : self.n_inputs], posterior, missing

    def infer_from_inputs(self, u):
        """Return loc and scale of `infer` for inputs that are centred and scaled."""
        return self._get_loc_scale(self.map.encode_inputs(u))

    def _get_loc_scale(self, posterior):
        latent = self.map.latent
        loc, scale = latent.get_loc_scale(posterior)
        return loc / latent.unit, scale / latent.unit

    def compute_root(self, x):
        """Return the posterior correlation of components, see `LinearStart`."""
        return self.map.linear_start.compute_root(x * self.ratio.to(x.dtype))

    def draw(self, x, noise, latent):
        """Return the encoder's input of rows, and draws of z from their posterior."""
        u, posterior, _ = self._encode(x)
        z = latent.draw(posterior, noise.unsqueeze(0))[0]
        return u, latent.make_decoder_input(z)

    @property
    def n_widest(self):
        """Number of values that a row has in the widest tensor."""
        return count_widest(self.map)

    def predict(self, z, rows_last=False):
        """Return raw outputs and offset given the decoder's input z."""
        module = self.map
        raw, _, offset, _ = module.compute_parameters(z)
        likelihood = module.likelihood
        raws, offsets = likelihood.list_raw(raw), likelihood.list_offsets(offset)
        ratio, found = self.ratio.to(z.dtype), []
        for (_, columns), (number, index) in zip(
            self.likelihood.list_groups(), self.sources, strict=True
        ):
            raw, offset = raws[number], offsets[number]
            if index is None:
                found.append((raw, offset))
                continue
            # the raw output of numbers is a shift of their mean
            mean = (offset + raw[..., 0, :]).index_select(-1, index.to(z.device))
            columns = torch.as_tensor(columns, device=z.device)
            mean = mean / ratio.index_select(-1, columns)
            found.append((None, mean))
        return self.likelihood.join_groups(found)

    def get_widening(self):
        """Return by how much numbers of new rows are farther from what is decoded.

        It is a factor for every column (n_features,), or None where all are 1.
        """
        if self.widening == 1:
            return None
        widening = torch.ones(self.n_features, dtype=torch.float64)
        groups = self.likelihood.list_groups()
        for (_, columns), (_, index) in zip(groups, self.sources, strict=True):
            if index is not None:
                widening[columns] = self.widening
        return widening

    def list_numbers(self, offset):
        """Return groups of numbers: likelihood, columns, and what the map decodes.

        The last are views of an offset.
        """
        groups = self.likelihood.list_groups()
        parts = self.likelihood.list_offsets(offset)
        return [
            (*group, part)
            for group, part, (_, index) in zip(groups, parts, self.sources, strict=True)
            if index is not None
        ]

    def keep(self, raw, free):
        """Write into initial values those of groups that the map has learned."""
        likelihood = self.likelihood
        learned = self.map.likelihood.list_free(self.map.free[0])
        for part, values, (number, index) in zip(
            likelihood.list_raw(raw),
            likelihood.list_free(free),
            self.sources,
            strict=True,
        ):
            if index is None:
                part.zero_()
                values.copy_(learned[number])


class _Tensors(NamedTuple):
    """What a decoder reads of a start."""

    log_range: torch.Tensor
