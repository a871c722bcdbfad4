"""scikit-learn's callbacks, called from a skorch net's epochs."""

from skorch.callbacks import Callback


class EpochTasks(Callback):
    """Report every epoch of a net as a task of the estimator that owns it.

    Parameters
    ----------
    estimator : VAETransformer
    X : ndarray (n_samples, n_features)
        What it is fitted to.
    get_snapshot : callable
        Maps a net to the fitted attributes of an estimator that has it.
    """

    is_passing = True

    def __init__(self, estimator, X, get_snapshot):
        self.estimator = estimator
        self.X = X
        self.get_snapshot = get_snapshot

    def on_train_begin(self, net, **kwargs):
        """Open the task of the whole fit."""
        self.context_ = self.estimator._init_callback_context(
            max_subtasks=net.max_epochs
        )
        self.is_open_ = False
        self.context_.call_on_fit_task_begin(estimator=self.estimator, X=self.X)

    def on_epoch_begin(self, net, **kwargs):
        """Open the task of one epoch."""
        self.epoch_ = self.context_.subcontext(task_name="epoch")
        self.is_open_ = True
        self.epoch_.call_on_fit_task_begin(estimator=self.estimator, X=self.X)

    def on_epoch_end(self, net, **kwargs):
        """Close it; a callback may ask to stop."""
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

    def on_train_end(self, net, **kwargs):
        """Close the task of the whole fit, and of an epoch that broke off."""
        if self.is_open_:
            self.on_epoch_end(net)
        self.context_.call_on_fit_task_end(
            estimator=self.estimator,
            X=self.X,
            reconstruction_attributes=lambda: self.get_snapshot(net),
        )
