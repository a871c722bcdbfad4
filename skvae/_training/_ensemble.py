"""The members of an ensemble, trained: the one whose z is kept, and all others."""

from typing import NamedTuple

from ._net import VAENet
from ._starting_point import StartingPoint


class Member(NamedTuple):
    """A network, and those of its folds, among the networks of a trained net.

    `number` is that of the network, counted from the last, so negative.
    """

    net: VAENet
    begin: StartingPoint
    number: int

    def select(self, fold=-1):
        """Return the module of a fold, and its shift and unit of every column.

        The last fold is that of the member itself. Others are there only where members
        have the same rows: then as many networks in a row have those of a fold.
        """
        network = self.number
        if fold >= 0:
            network += (fold + 1) * self.begin.splits.n_members
        start = self.begin.starts[network]
        return self.net.module_.select(network), (start.shift, start.unit)


def list_members(net, begin):
    """Return the members among the networks of a net; the last has the most rows."""
    return [Member(net, begin, -i) for i in range(begin.splits.n_members, 0, -1)]


def join_members(members):
    """Return the net of one member, with the others beside it.

    Of members that were trained side by side it is the last one, else the one with the
    best held-out score. Modules of the others are the net's `module_others_`, and their
    units, as its `units_`, are its `other_units_`.
    """
    kept = members[-1]
    if kept.begin.splits.n_members == 1:
        kept = min(members, key=_get_loss)
    others = [member.select() for member in members if member is not kept]
    net = kept.net
    net.interrupted_ = any(member.net.interrupted_ for member in members)
    net.diverged_ = any(member.net.diverged_ for member in members)
    net.keep_fold(-1)
    # none is left of an earlier fit of a net that is trained further
    net.module_others_ = [module.eval() for module, _ in others]
    net.other_units_ = [unit for _, unit in others]
    return net


def _get_loss(member):
    return dict(member.net.callbacks_)["best_weights"].best_loss_
