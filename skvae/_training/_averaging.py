"""AveragedWeights: the moving average of a net's weights, which is validated and kept.

Training works on raw weights. Held-out rows and callbacks see averaged ones.
"""

import torch


class AveragedWeights:
    """Part of `VAENet`.

    Attributes
    ----------
    averages_ : list of Tensor or None
        The averages, one per tensor of `_trained`; None before the first step.
    raw_weights_ : list of Tensor or None
        The weights of the optimizer, while the averages are in their place.
    """

    def advance(self):
        """Count a step.

        Return the share of the learning rate that it takes, and how far the average
        moves towards the weights after it.
        """
        n_steps = self.n_steps_ + 1
        # past skorch's own, which looks for modules and takes a hundredth of a step
        vars(self)["n_steps_"] = n_steps
        factor = min(1.0, n_steps / max(self.lr_warmup, 1))
        # a short memory at first, so that the initial weights soon leave the average
        decay = (n_steps + 1) / (n_steps + 10)
        return factor, 1 - min(self.averaging or 0.0, decay)

    @torch.no_grad()
    def _move_averages(self, pull):
        if self.averages_ is None:
            self.averages_ = [p.detach().clone() for p in self._trained]
        torch._foreach_lerp_(self.averages_, self._trained, pull)

    def _move_weights_to_device(self):
        """Move weights that a pickled net, or a copy of one, has on the CPU."""
        for name in ("averages_", "raw_weights_"):
            if getattr(self, name) is not None:
                moved = [value.to(self.device) for value in getattr(self, name)]
                setattr(self, name, moved)

    def _use_averages(self):
        """Put the averaged weights in, and keep those the optimizer works on."""
        if self.averages_ is not None and self.raw_weights_ is None:
            self.raw_weights_ = [p.detach().clone() for p in self._trained]
            self._load(self.averages_)

    def use_raw_weights(self):
        """Put the weights back that the optimizer works on."""
        if self.raw_weights_ is not None:
            self._load(self.raw_weights_)
            self.raw_weights_ = None

    @torch.no_grad()
    def _load(self, values):
        for parameter, value in zip(self._trained, values, strict=True):
            parameter.copy_(value)
