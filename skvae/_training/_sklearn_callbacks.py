"""Callbacks that an estimator adds to its net: scikit-learn's, and a progress bar."""

from skorch.callbacks import Callback
from typing_extensions import override

from .._utils._progress import DELAY
from ..callbacks import EpochLines, ProgressBar


def make_callbacks(estimator, plan, data):
    """Return skorch callbacks for `set_callbacks` and `verbose` of an estimator."""

    def get_snapshot(net):
        return {
            "net_": net.make_snapshot(),
            "columns_": data.columns.rescaled(*net.units_),
            "device_": str(net.device),
            "_noise": plan.noise,
        }

    callbacks = []
    if getattr(estimator, "_skl_callbacks", None) or hasattr(
        estimator, "_parent_callback_ctx"
    ):
        X, n_stages = data.get_kept()[0], 1 + (plan.density is not None)
        callbacks.append(EpochTasks(estimator, X, get_snapshot, n_stages))
    callbacks += _show_epochs(estimator, data)
    return callbacks


def _show_epochs(estimator, data):
    """Return the callbacks that `verbose` asks for."""
    name = type(estimator).__name__
    if data.is_chunk:
        name += ".partial_fit"
        bar = ProgressBar(name, n_epochs=1, delay=DELAY)
    else:
        name += ".fit"
        bar = ProgressBar(name)
    return [[], [bar], [EpochLines(name)]][min(int(estimator.verbose), 2)]


class EpochTasks(Callback):
    """Report every epoch of a fit as a task of the estimator that owns it.

    `get_snapshot` maps a net to the fitted attributes of an estimator with that net,
    `n_stages` is the number of nets that one fit trains in turn.
    """

    is_passing = True

    def __init__(self, estimator, X, get_snapshot, n_stages):
        self.estimator = estimator
        self.X = X
        self.get_snapshot = get_snapshot
        self.n_stages = n_stages
        self.n_left_ = n_stages

    @override
    def on_train_begin(self, net, **kwargs):
        self.is_open_ = False
        if self.n_left_ < self.n_stages:
            return
        self.context_ = self.estimator._init_callback_context(
            max_subtasks=self.n_stages * net.max_epochs
        )
        self.context_.call_on_fit_task_begin(estimator=self.estimator, X=self.X)

    @override
    def on_epoch_begin(self, net, **kwargs):
        self.epoch_ = self.context_.subcontext(task_name="epoch")
        self.is_open_ = True
        self.epoch_.call_on_fit_task_begin(estimator=self.estimator, X=self.X)

    @override
    def on_epoch_end(self, net, **kwargs):
        row = net.history[-1]
        metadata = {k: row[k] for k in ("train_loss", "valid_loss") if k in row}
        self.is_open_ = False
        stops = self.epoch_.call_on_fit_task_end(
            estimator=self.estimator,
            X=self.X,
            metadata={"epoch": row["epoch"], **metadata},
            reconstruction_attributes=lambda: self.get_snapshot(net),
        )
        if stops:
            net.stop()

    @override
    def on_train_end(self, net, **kwargs):
        """Close the task of the whole fit, and of an epoch that was interrupted."""
        if self.is_open_:
            self.on_epoch_end(net)
        self.n_left_ -= 1
        if self.n_left_ and not (net.interrupted_ or net.diverged_):
            return
        self.context_.call_on_fit_task_end(
            estimator=self.estimator,
            X=self.X,
            reconstruction_attributes=lambda: self.get_snapshot(net),
        )
