"""NetState: what remains of a net after a fit, in a pickle and in a snapshot."""

import copy
from collections import Counter
from typing import ClassVar

from .._utils._description import Described
from .._utils._device import is_available

# rows of the history that are kept of a stream
_STREAM_ROWS = 20


def is_passing(callback):
    """Return whether a callback lives for one fit only."""
    return getattr(callback, "is_passing", False)


def _count_stages(rows):
    return Counter(row.get("stage") for row in rows)


class NetState(Described):
    """Part of `VAENet`.

    Attributes
    ----------
    dropped_ : Counter
        Rows of the history of a stream that are not there any more, by their stages.
    module_others_ : list of VAEModule
        Modules of the other members of an ensemble. skorch moves what is called so to
        a device that is there, as it does the module.
    """

    dropped_: ClassVar = Counter()
    # of nets without such members
    module_others_ = other_units_ = ()

    def resume_history(self):
        """Put rows in the place of dropped ones: callbacks count epochs by rows.

        `finish` takes them out again.
        """
        self.history_[:0] = [{"stage": stage} for stage in self.dropped_.elements()]
        if getattr(self, "map_net_", None) is not None:
            self.map_net_.resume_history()

    def _shorten_history(self, is_chunk):
        n_dropped = self.dropped_.total()
        if is_chunk:
            n_dropped = max(n_dropped, len(self.history_) - _STREAM_ROWS)
        self.dropped_ = _count_stages(self.history_[:n_dropped])
        del self.history_[:n_dropped]

    def count_epochs(self):
        """Return the number of epochs of the longest stage, dropped ones included."""
        return max(_count_stages(self.history_).values(), default=0)

    def keep_fold(self, fold):
        """Keep one of the networks that were trained side by side."""
        if self.module_.n_copies is None:
            return
        kept = self.module_.select(fold)
        if isinstance(self.log_volume, list):
            self.log_volume = self.log_volume[fold]
        before = self.optimizer_.param_groups
        self.set_params(module=kept)
        # what a schedule of rates has left there, and goes on from
        for old, new in zip(before, self.optimizer_.param_groups, strict=True):
            added = old.keys() - new.keys()
            new |= {name: old[name] for name in ({*added, "lr"} if added else ())}

    def finish(self, keeps_training, is_chunk):
        """Drop callbacks of this fit and, unless training may resume, its state.

        After a chunk of a stream, drop all but the last rows of the history, too.
        """
        if getattr(self, "map_net_", None) is not None:
            self.map_net_.finish(keeps_training, is_chunk)
        self._shorten_history(is_chunk)
        self.callbacks = [c for c in self.callbacks or [] if not is_passing(c)]
        self.callbacks_ = [c for c in self.callbacks_ if not is_passing(c[1])]
        if not keeps_training:
            self.optimizer_.state.clear()
            self.averages_ = self.raw_weights_ = self.map_net_ = None
        self._set_training(False)

    def make_snapshot(self):
        """Return a net that can infer with the weights as they are now."""
        net = object.__new__(type(self))
        net.__dict__.update(self.__dict__)
        module = copy.deepcopy(self.module_.select(-1)).eval()
        net.__dict__ |= {
            "module": module,
            "module_": module,
            "callbacks": [c for c in self.callbacks or [] if not is_passing(c)],
            "callbacks_": [],
            "_trained": None,
            "_steps": None,
            "map_net_": None,
            "averages_": None,
            "raw_weights_": None,
        }
        return net

    def _get_described(self):
        """Return what a pickle holds: not the steps, which are recorded anew."""
        if getattr(self, "_steps", None) is not None:
            # weights without views of one another; training resumes with new steps
            self._drop_steps()
        parts = dict(vars(self))
        # skorch makes setters of parameters out of functions
        parts["virtual_params_"] = None
        parts["_trained"] = parts["_steps"] = None
        # the module was handed over as an instance: one copy of the weights is enough
        if "module_" in parts:
            parts["module"] = None
        history = parts.get("history_")
        if history is not None:
            # a record of every batch would be larger than the network
            parts["history_"] = type(history)({**row, "batches": []} for row in history)
        return parts

    def _set_described(self, parts):
        """Restore a net, on the CPU where its device is missing."""
        if not is_available(parts["device"]):
            parts = {**parts, "device": "cpu"}
        vars(self).update(parts)
        if "module_" in parts:
            vars(self)["module"] = self.module_
        self.restore_setters()
