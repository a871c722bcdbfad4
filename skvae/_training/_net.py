"""VAENet: a skorch net whose loss is the bound, fed rows a batch at a time.

skorch does the rest: epochs, history, callbacks, optimizers. What the net adds is that
`Steps` take its steps unless somebody watches batches, the averaging of weights,
several copies of the network side by side, and that it starts from, and may fall back
to, the linear model.
"""

import copy
import math
from contextlib import contextmanager, nullcontext

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EarlyStopping, EpochTimer

from .._utils._device import give_memory_back, is_available, matmul_precision
from .._utils._seed import seeded
from ..callbacks import BestWeights, EpochMeans, StopTraining
from ..objectives import ELBO
from ._batches import Rows, TrainBatches, ValidBatches
from ._gradient import TERMS
from ._step import NonFiniteLossError, Steps

# of the noise of held-out rows, and of whatever else their loss draws
_NOISE_SEED, _LOSS_SEED = 0, 1


class Loss(torch.nn.Module):
    """An objective as the criterion of a net; beta may be scheduled."""

    def __init__(self, objective, beta=1.0):
        super().__init__()
        self.objective, self.beta = objective, beta

    @property
    def is_elbo(self):
        """Whether what is maximised is the ELBO itself."""
        is_bound = isinstance(self.objective, ELBO) and not self.objective.free_bits
        return is_bound and self.beta == 1

    def forward(self, output, x, weight):
        return self.objective(output, x, weight, self.beta)


class VAENet(NeuralNet):
    """A skorch net around a `VAEModule`.

    Parameters
    ----------
    module : VAEModule
    log_volume : float or sequence of float, default=0.0
        Log-Jacobian of the module's units, one for each copy: added to the loss so that
        losses are in nats in the units of X.
    noise : Tensor (n_draws, n_components), default=None
        What held-out rows are judged with.
    averaging : float, default=0.99
        Decay of the moving average of the weights, which is what is judged and kept.
    lr_warmup : int, default=50
        Steps over which the learning rate rises.
    max_gradient_norm : float, default=None
        Longer gradients are cut to this length.
    members_start : callable, default=None
        Called once with the module before training: lets its members take their start.
    matmul_precision : {'highest', 'high', 'medium'}, default='highest'
        Of products in training steps, see `torch.set_float32_matmul_precision`; 'high'
        allows TF32 on accelerators that have it.
    autocast : torch.dtype, default=None
        Such as torch.bfloat16: training steps under `torch.autocast`.
    **kwargs
        Any other parameter of `skorch.NeuralNet`.
    """

    def __init__(
        self,
        module,
        *args,
        criterion=Loss,
        log_volume=0.0,
        noise=None,
        averaging=0.99,
        lr_warmup=50,
        max_gradient_norm=None,
        members_start=None,
        matmul_precision="highest",
        autocast=None,
        iterator_train=TrainBatches,
        iterator_valid=ValidBatches,
        **kwargs,
    ):
        self.log_volume = log_volume
        self.noise = noise
        self.averaging = averaging
        self.lr_warmup = lr_warmup
        self.max_gradient_norm = max_gradient_norm
        self.members_start = members_start
        self.matmul_precision = matmul_precision
        self.autocast = autocast
        super().__init__(
            module,
            criterion,
            *args,
            iterator_train=iterator_train,
            iterator_valid=iterator_valid,
            **kwargs,
        )

    @property
    def _default_callbacks(self):
        return [
            ("epoch_timer", EpochTimer()),
            ("epoch_means", EpochMeans(TERMS)),
            ("best_weights", BestWeights()),
        ]

    def initialize(self):
        """Initialize module, optimizer, callbacks and history."""
        super().initialize()
        self.diverged_ = self.interrupted_ = self.is_stopping_ = False
        return self

    def initialize_optimizer(self, *args, **kwargs):
        """Initialize the optimizer; weight decay is for matrices only."""
        super().initialize_optimizer(*args, **kwargs)
        self.averages_ = self.raw_weights_ = None
        self.n_steps_ = 0
        self._steps = None
        self._trained = list(self.module_.parameters())
        return self

    def initialize_callbacks(self):
        """Initialize callbacks; refuse parameters of callbacks that are not there."""
        super().initialize_callbacks()
        known = dict(self.callbacks_)
        for key in self.get_params_for("callbacks"):
            name = key.split("__")[0]
            if name not in known:
                names = ", ".join(repr(n) for n in known)
                raise TypeError(
                    f"There is no callback {name!r} for the parameter "
                    f"'callbacks__{key}'; use one of {names}."
                )
        return self

    def notify(self, method_name, **cb_kwargs):
        """Call all callbacks, and stop after them if one has asked for it."""
        super().notify(method_name, **cb_kwargs)
        if method_name == "on_epoch_end" and self.is_stopping_:
            raise StopTraining

    def stop(self):
        """End training with this epoch, once all callbacks have seen it."""
        self.is_stopping_ = True

    def get_dataset(self, X, y=None):
        """Return X, which must be a `Rows`."""
        if not isinstance(X, Rows):
            raise TypeError(
                f"VAENet takes Rows, not {type(X).__name__}: rows in the units of its "
                "module. Use the methods of VAETransformer for tables."
            )
        return X

    def get_split_datasets(self, X, y=None, **fit_params):
        """Return X as the training set and, if any rows judge, as the other too."""
        return X, (X if X.valid else None)

    def infer(self, x, **fit_params):
        """Return the module's output for a batch."""
        x = x.to(self.device)
        if self.module_.training:
            objective = self.criterion_.objective
            return self.module_(
                x, n_draws=objective.n_draws, may_sum=objective.is_row_wise
            )
        if self.criterion_.objective.is_row_wise:
            return self.module_(x, noise=self.noise)
        # rows that are put beside one another do not share their noise
        with self._judging(_NOISE_SEED):
            return self.module_(x, n_draws=len(self.noise), may_sum=False)

    @contextmanager
    def _judging(self, seed):
        """Let what a loss draws of held-out rows be the same at every epoch."""
        if self.criterion_.objective.is_row_wise:
            yield
            return
        with seeded(seed, self.device), torch.no_grad():
            yield

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Return the objective on a batch, in nats per row in the units of X.

        y_true is the weight of the rows, which travels where targets do.
        """
        x = X.to(self.device)
        weight = y_true.to(self.device)
        with nullcontext() if training else self._judging(_LOSS_SEED):
            loss, terms = self.criterion_(y_pred, x, weight)
        volume = self.get_volume(weight)
        prefix = "train_" if training else "valid_"
        for name, value in terms.items():
            shift = volume if name == "reconstruction" else 0.0
            self.history.record_batch(prefix + name, value.item() - float(shift))
        if not training:
            self.history.record_batch("valid_weight", weight.sum().item())
        return loss + volume

    def get_volume(self, weight):
        """Return the log-Jacobian of the units, a mean over rows with these weights."""
        if isinstance(self.log_volume, float):
            return self.log_volume
        volume = torch.as_tensor(self.log_volume, dtype=weight.dtype).to(weight.device)
        share = weight.sum(dim=-1)
        return (volume * (share / share.sum())).sum()

    def train_step_single(self, batch, **fit_params):
        """Compute the loss of a batch and its gradient, cut to a bounded length."""
        cast = nullcontext()
        if self.autocast is not None:
            cast = torch.autocast(torch.device(self.device).type, self.autocast)
        with cast:
            step = super().train_step_single(batch, **fit_params)
        if not math.isfinite(step["loss"].item()):
            raise NonFiniteLossError
        if self.module_.n_copies is not None:
            # the loss is the mean over copies: bring back the gradient of each alone
            gradients = [p.grad for p in self._trained if p.grad is not None]
            torch._foreach_mul_(gradients, self.module_.n_copies)
        if self.max_gradient_norm is not None:
            norm = torch.nn.utils.clip_grad_norm_(self._trained, self.max_gradient_norm)
            if not math.isfinite(norm):
                raise NonFiniteLossError
        return step

    def train_step(self, batch, **fit_params):
        """Take one step and move the average of the weights along."""
        factor, pull = self.advance()
        groups = self.optimizer_.param_groups
        # for this step alone: schedulers see the full rate
        full = [group["lr"] for group in groups]
        for group in groups:
            group["lr"] *= factor
        step = super().train_step(batch, **fit_params)
        for group, lr in zip(groups, full, strict=True):
            group["lr"] = lr
        if self.averaging:
            with torch.no_grad():
                if self.averages_ is None:
                    self.averages_ = [p.detach().clone() for p in self._trained]
                torch._foreach_lerp_(self.averages_, self._trained, pull)
        return step

    def advance(self):
        """Count a step.

        Returns
        -------
        factor : float
            The share of the learning rate that it takes.
        pull : float
            How far the average of the weights moves towards them after it.
        """
        n_steps = self.n_steps_ + 1
        # past skorch's own, which looks for modules and takes a hundredth of a step
        vars(self)["n_steps_"] = n_steps
        factor = min(1.0, n_steps / max(self.lr_warmup, 1))
        # a short memory at first: the start is no part of the average for long
        decay = (n_steps + 1) / (n_steps + 10)
        return factor, 1 - min(self.averaging or 0.0, decay)

    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
        """Train on raw weights, validate (and let callbacks see) averaged ones."""
        if training:
            self.use_raw_weights()
            if self._has_steps():
                self._steps.run(iterator)
                return
        else:
            self._use_averages()
        super().run_single_epoch(iterator, training, prefix, step_fn, **fit_params)
        if not training and iterator is not None:
            # batches count by the weight of their rows, not by their number
            for batch in self.history[-1]["batches"]:
                if "valid_weight" in batch:
                    batch["valid_batch_size"] = batch.pop("valid_weight")

    def _has_steps(self):
        """Return whether `Steps` train, made at the first epoch of a fit."""
        if self._steps is None and Steps.can_train(self):
            self._steps = Steps(self)
        if self._steps is not None and not self._steps.is_current():
            self._drop_steps()
        return self._steps is not None

    def _drop_steps(self):
        if self._steps is not None:
            self._steps.release()
            self._steps = None
            give_memory_back(self.device)
        self._trained = list(self.module_.parameters())

    def _set_training(self, training=True):
        """Switch modes, where there is anything to switch."""
        if self.module_.training != training:
            super()._set_training(training)

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

    @torch.no_grad()
    def compute_valid_loss(self, rows):
        """Return the loss of the held-out rows with the weights as they are."""
        self._set_training(False)
        total = weight = 0.0
        for x, w in self.get_iterator(rows, training=False):
            x, w = x.to(self.device), w.to(self.device)
            output = self.infer(x)
            with self._judging(_LOSS_SEED):
                loss, _ = self.criterion_(output, x, w)
            total += (loss.item() + float(self.get_volume(w))) * w.sum().item()
            weight += w.sum().item()
        return total / weight

    def start_members(self):
        """Let likelihood and prior take their start, once; return whether they did."""
        if self.members_start is None:
            return False
        start, self.members_start = self.members_start, None
        start(self.module_)
        return True

    def keep_copy(self, copy=-1):
        """Go on with one of the copies of the network alone."""
        if self.module_.n_copies is None:
            return
        kept = self.module_.select(copy)
        if isinstance(self.log_volume, list):
            self.log_volume = self.log_volume[copy]
        self.set_params(module=kept)

    @torch.no_grad()
    def score_valid_rows(self, rows):
        """Return the ELBO of every held-out row with the weights as they are.

        Returns
        -------
        scores, weight : Tensor (n_rows,)
        """
        self._set_training(False)
        scores, weights = [], []
        for x, w in self.get_iterator(rows, training=False):
            x, w = x.to(self.device), w.to(self.device)
            score = self.infer(x).elbo(x)
            volume = torch.as_tensor(self.log_volume, dtype=score.dtype).to(w.device)
            score = score - (volume[:, None] if volume.dim() else volume)
            scores.append(score[w > 0])
            weights.append(w[w > 0])
        return torch.cat(scores), torch.cat(weights)

    def fit_loop(self, X, y=None, epochs=None, **fit_params):
        """Train; note when the loss left the numbers or a callback asked to stop."""
        self.diverged_ = self.interrupted_ = self.is_stopping_ = False
        self._drop_steps()
        for name in ("averages_", "raw_weights_"):
            # a pickled net, or a copy of one, has them on the CPU
            if getattr(self, name) is not None:
                moved = [value.to(self.device) for value in getattr(self, name)]
                setattr(self, name, moved)
        try:
            with matmul_precision(self.matmul_precision):
                super().fit_loop(X, y, epochs, **fit_params)
        except NonFiniteLossError:
            self.diverged_ = True
        except StopTraining:
            pass
        except KeyboardInterrupt:
            # skorch's EarlyStopping stops training by the same exception as Ctrl-C
            self.interrupted_ = not any(
                isinstance(callback, EarlyStopping)
                and callback.misses_ >= callback.patience
                for _, callback in self.callbacks_
            )
            if self.interrupted_:
                self._use_averages()
        finally:
            self._drop_steps()
        return self

    def finish(self, keeps_training):
        """Drop what only training needs, unless it is to go on."""
        self.callbacks = [c for c in self.callbacks or [] if not is_passing(c)]
        self.callbacks_ = [c for c in self.callbacks_ if not is_passing(c[1])]
        if not keeps_training:
            self.optimizer_.state.clear()
            self.averages_ = self.raw_weights_ = None
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
            "averages_": None,
            "raw_weights_": None,
        }
        return net

    def __getstate__(self):
        if getattr(self, "_steps", None) is not None:
            # weights without views of one another; training goes on with new steps
            self._drop_steps()
        state = dict(super().__getstate__())
        state["_trained"] = state["_steps"] = None
        # the module was handed over as an instance: one copy of the weights is enough
        state["module"] = None
        for name in ("averages_", "raw_weights_"):
            if state.get(name) is not None:
                state[name] = [value.cpu() for value in state[name]]
        history = state.get("history_")
        if history is not None:
            # a record of every batch would be larger than the network
            state["history_"] = type(history)({**row, "batches": []} for row in history)
        return state

    def __setstate__(self, state):
        if not is_available(state["device"]):
            state = {**state, "device": "cpu"}
        super().__setstate__(state)
        self.module = self.module_


def is_passing(callback):
    """Return whether a callback lives for one fit only."""
    return getattr(callback, "is_passing", False)


def check_net_callbacks(net_callbacks):
    """Refuse what is not a skorch callback, nor a pair of a name and one.

    Raises
    ------
    TypeError
    """
    for item in net_callbacks or []:
        is_pair = isinstance(item, tuple) and len(item) == 2
        callback = item[1] if is_pair else item
        is_class = isinstance(callback, type) and issubclass(callback, Callback)
        if not (is_class or isinstance(callback, Callback)):
            raise TypeError(
                f"net_callbacks holds {item!r}, which is neither a skorch callback nor "
                "a pair (name, callback)."
            )
