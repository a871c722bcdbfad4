"""A network of plain torch layers, as a user would bring it."""

import torch

from skvae.networks import Network


class TorchNetwork(Network):
    """Bodies made of plain torch layers."""

    def __init__(self, width=8):
        self.width = width

    def make_encoder(self, n_inputs, n_copies=None):
        return self._make(n_inputs)

    def make_decoder(self, n_inputs, n_copies=None):
        return self._make(n_inputs)

    def _make(self, n_inputs):
        layers = torch.nn.Linear(n_inputs, self.width), torch.nn.Tanh()
        return torch.nn.Sequential(*layers), self.width
