"""VAENet: a skorch net whose loss is the bound, fed rows a batch at a time.

skorch has epochs, history, callbacks and optimizers. The net adds steps by `Steps`
where no callback watches batches, averaged weights, several networks trained side by
side, and the scores of held-out rows.
"""

import math
from contextlib import contextmanager, nullcontext

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EarlyStopping, EpochTimer
from skorch.setter import optimizer_setter
from typing_extensions import override

from .._utils._checks import suggest
from .._utils._device import give_memory_back, matmul_precision
from .._utils._draws import call_with_draws
from .._utils._quiet_import import import_quietly
from .._utils._seed import seeded
from ..callbacks import BestWeights, EpochMeans, StopTraining
from ..objectives import ELBO
from ._adam import Adam, AdamW
from ._averaging import AveragedWeights
from ._batches import Rows, TrainBatches, ValidBatches
from ._flat_weights import learning_rates
from ._gradient import TERMS
from ._net_state import NetState
from ._parted_gradient import is_additive
from ._ranks import RankError, RankInterrupt, get_ranks
from ._step import NonFiniteLossError, Steps

# seeds of the noise of held-out rows, and of all else that their loss draws
_NOISE_SEED, _LOSS_SEED = 0, 1


class Loss(torch.nn.Module):
    """An objective as the criterion of a net; beta may be scheduled."""

    def __init__(self, objective, beta=1.0):
        super().__init__()
        self.objective, self.beta = objective, beta

    @property
    def is_elbo(self):
        """Whether training maximises the ELBO itself."""
        objective = self.objective
        if not isinstance(objective, ELBO) or objective.free_bits or objective.n_refine:
            return False
        return self.beta == 1

    @override
    def forward(self, output, x, weight):
        return self.objective(output, x, weight, self.beta)


class VAENet(AveragedWeights, NetState, NeuralNet):
    """A skorch net around a `VAEModule`.

    Parameters
    ----------
    module : VAEModule
    log_volume : float or sequence of float, default=0.0
        Log-Jacobian of the module's units, one per network: added to the loss so that
        losses are in nats in the units of X.
    noise : Tensor (n_draws, n_components), default=None
        Noise of the scores of held-out rows.
    averaging : float, default=0.99
        Decay of the moving average of the weights, which is validated and kept.
    lr_warmup : int, default=50
        Steps over which the learning rate rises.
    max_gradient_norm : float, default=None
        Longer gradients are cut to this length.
    held_out_loss : callable, default=None
        ``held_out_loss(module, x)`` returns the loss of held-out rows, (..., n), by
        which the best weights are chosen; None is the loss of the objective.
    init_members : callable, default=None
        Called once with the module before training, to initialize its members from the
        data.
    matmul_precision : {'highest', 'high', 'medium'}, default='highest'
        Precision of products in training steps, as of
        `torch.set_float32_matmul_precision`; 'high' allows TF32 on accelerators that
        have it.
    autocast : torch.dtype, default=None
        Type of training steps under `torch.autocast`, such as torch.bfloat16.
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
        held_out_loss=None,
        init_members=None,
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
        self.held_out_loss = held_out_loss
        self.init_members = init_members
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
    @override
    def _default_callbacks(self):
        return [
            ("epoch_timer", EpochTimer()),
            ("epoch_means", EpochMeans(TERMS)),
            ("best_weights", BestWeights()),
        ]

    @override
    def initialize(self):
        super().initialize()
        self.diverged_ = self.interrupted_ = self.is_stopping_ = False
        return self

    @override
    def initialize_optimizer(self, *args, **kwargs):
        if self.optimizer not in (Adam, AdamW):
            # by the first method of an optimizer
            import_quietly("torch._dynamo")
        try:
            super().initialize_optimizer(*args, **kwargs)
            if not isinstance(self.optimizer_, torch.optim.Optimizer):
                raise TypeError(f"it makes a {type(self.optimizer_).__name__}")
        except Exception as error:
            # an optimizer of one's own may raise anything
            settings = self.get_params_for("optimizer") | {"lr": self.lr}
            raise ValueError(
                f"optimizer={self.optimizer!r} with {settings} cannot be used: "
                f"{error}; pass a class from torch.optim, and what it takes in "
                "net_params."
            ) from error
        self.averages_ = self.raw_weights_ = None
        self.n_steps_ = 0
        self._steps = None
        self._trained = list(self.module_.parameters())
        return self

    def restore_setters(self):
        """Let `set_params` reach the optimizer again, as skorch's `initialize` does."""
        self.initialize_virtual_params()
        if getattr(self, "optimizer_", None) is not None:
            patterns = ["optimizer__param_groups__*__*", "optimizer__*", "lr"]
            self._register_virtual_param(patterns, optimizer_setter)

    @override
    def initialize_callbacks(self):
        """Initialize callbacks; refuse parameters of callbacks that are not there."""
        try:
            super().initialize_callbacks()
        except ValueError as error:
            raise ValueError(f"net_params, or net_callbacks: {error}") from None
        known = dict(self.callbacks_)
        for key in self.get_params_for("callbacks"):
            name = key.split("__")[0]
            if name not in known:
                names = ", ".join(repr(n) for n in known)
                raise ValueError(
                    f"net_params has the key 'callbacks__{key}', but there is no "
                    f"callback {name!r}{suggest(name, known)}; use one of {names}."
                )
        return self

    @override
    def notify(self, method_name, **cb_kwargs):
        super().notify(method_name, **cb_kwargs)
        if method_name == "on_epoch_end" and self.is_stopping_:
            raise StopTraining

    def stop(self):
        """End training with this epoch, once all callbacks have seen it."""
        self.is_stopping_ = True

    @override
    def get_dataset(self, X, y=None):
        if not isinstance(X, Rows):
            raise TypeError(
                f"VAENet takes Rows, not {type(X).__name__}: rows in the units of its "
                "module. Use the methods of VAETransformer for tables."
            )
        return X

    @override
    def get_split_datasets(self, X, y=None, **fit_params):
        return X, (X if X.valid else None)

    @override
    def infer(self, x, **fit_params):
        x = x.to(self.device)
        if self.module_.training:
            objective = self.criterion_.objective
            return self.module_(
                x, n_draws=objective.n_draws, may_sum=objective.is_row_wise
            )
        if self.criterion_.objective.is_row_wise:
            return self.module_(x, noise=self.noise)
        # rows that are compared with one another do not share their noise
        with self._fixed_draws(_NOISE_SEED):
            return self.module_(x, n_draws=len(self.noise), may_sum=False)

    @contextmanager
    def _fixed_draws(self, seed):
        """Let the random draws of a loss of held-out rows be equal at every epoch."""
        if self.criterion_.objective.is_row_wise:
            yield
            return
        with seeded(seed, self.device), torch.no_grad():
            yield

    @override
    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Return the objective on a batch, in nats per row in the units of X.

        y_true is the weight of the rows: skorch passes it on as it does targets.
        """
        x = X.to(self.device)
        weight = y_true.to(self.device)
        if training:
            self.criterion_.objective.learn(y_pred, x, weight)
        with nullcontext() if training else self._fixed_draws(_LOSS_SEED):
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

    @override
    def train_step_single(self, batch, **fit_params):
        """Compute the loss of a batch and its gradient, cut to a bounded length."""
        cast = nullcontext()
        if self.autocast is not None:
            cast = torch.autocast(torch.device(self.device).type, self.autocast)
        with cast:
            step = call_with_draws(self._compute_step, batch, **fit_params)
        if not math.isfinite(step["loss"].item()):
            raise NonFiniteLossError
        if self.module_.n_copies is not None:
            # the loss is the mean over networks: give each its own gradient again
            gradients = [p.grad for p in self._trained if p.grad is not None]
            torch._foreach_mul_(gradients, self.module_.n_copies)
        if self.max_gradient_norm is not None:
            norm = torch.nn.utils.clip_grad_norm_(self._trained, self.max_gradient_norm)
            if not math.isfinite(norm):
                raise NonFiniteLossError
        return step

    def _compute_step(self, batch, **fit_params):
        # what an attempt that is repeated has left
        self.optimizer_.zero_grad()
        return super().train_step_single(batch, **fit_params)

    @override
    def train_step(self, batch, **fit_params):
        import_quietly("torch._dynamo")  # by the optimizer's step
        factor, pull = self.advance()
        rates = [factor * group["lr"] for group in self.optimizer_.param_groups]
        with learning_rates(self.optimizer_, rates):
            step = super().train_step(batch, **fit_params)
        if self.averaging:
            self._move_averages(pull)
        return step

    @override
    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
        """Train on raw weights; validate, and let callbacks see, averaged ones."""
        if self._steps is not None:
            if self._steps.is_current():
                self._steps.weights.take_back()
            else:
                self._drop_steps()
        if training:
            self.use_raw_weights()
            if self._has_steps():
                self._steps.run(iterator)
                return
        else:
            self._use_averages()
        super().run_single_epoch(iterator, training, prefix, step_fn, **fit_params)
        if not training and iterator is not None:
            self._weigh_valid_batches(_get_ranks_of(iterator))

    def _weigh_valid_batches(self, ranks):
        """Let batches count by the weight of their rows; add those of other ranks."""
        batches = self.history[-1]["batches"]
        found = [batch for batch in batches if "valid_weight" in batch]
        if ranks is not None:
            batches[:] = [batch for batch in batches if "valid_weight" not in batch]
            parts = ranks.exchange(found, "the held-out loss")
            found = [batch for part in parts for batch in part]
            batches += found
            self.history.record("valid_batch_count", len(found))
        for batch in found:
            batch["valid_batch_size"] = batch.pop("valid_weight")

    @override
    def get_iterator(self, dataset, training=False):
        iterator = super().get_iterator(dataset, training)
        ranks = get_ranks()
        is_split = ranks is not None and type(iterator) is ValidBatches
        if is_split and not training and is_additive(self.criterion_.objective):
            iterator.split(ranks)
        return iterator

    def _has_steps(self):
        """Return whether `Steps` train the net; they are made at the first epoch."""
        if self._steps is None and Steps.can_train(self):
            self._steps = Steps(self)
        return self._steps is not None

    def _drop_steps(self):
        if self._steps is not None:
            self._steps.release()
            self._steps = None
            give_memory_back(self.device)
        self._trained = list(self.module_.parameters())

    @override
    def _set_training(self, training=True):
        if self.module_.training != training:
            super()._set_training(training)

    def _infer_valid(self, batches):
        """Yield held-out rows, their weights and the module's output, by batches."""
        self._set_training(False)
        for x, w in batches:
            x, w = x.to(self.device), w.to(self.device)
            yield x, w, self.infer(x)

    def compute_valid_loss(self, rows):
        """Return the loss of the held-out rows with the weights as they are."""
        return self.judge_valid_rows(rows, with_scores=False)[0]

    @torch.no_grad()
    def judge_valid_rows(self, rows, with_scores=True):
        """Return `compute_valid_loss` and `score_valid_rows` from one pass."""
        if self.held_out_loss is not None:
            scores, weights = self.score_valid_rows(rows)
            return -float((scores * weights).sum() / weights.sum()), (scores, weights)
        total = weight = 0.0
        found, batches = [], self.get_iterator(rows, training=False)
        for x, w, output in self._infer_valid(batches):
            if with_scores:
                found.append(self._score_rows(x, w, output))
            with self._fixed_draws(_LOSS_SEED):
                loss, _ = self.criterion_(output, x, w)
            total += (loss.item() + float(self.get_volume(w))) * w.sum().item()
            weight += w.sum().item()
        ranks = _get_ranks_of(batches)
        if ranks is not None:
            sums = torch.tensor([total, weight], dtype=torch.float64)
            ranks.add_up(sums)
            total, weight = sums.tolist()
        return total / weight, _join(found, ranks) if found else None

    def initialize_members(self):
        """Initialize likelihood and prior, once; return whether this was the time."""
        if self.init_members is None:
            return False
        initialize, self.init_members = self.init_members, None
        initialize(self.module_)
        return True

    @torch.no_grad()
    def score_valid_rows(self, rows):
        """Return the ELBO of every held-out row, or its negative `held_out_loss`.

        Returns
        -------
        scores, weight : Tensor (n_rows,)
        """
        if self.held_out_loss is None:
            return self._compute_valid_elbos(rows)
        found, batches = [], self.get_iterator(rows, training=False)
        self._set_training(False)
        for x, w in batches:
            x, w = x.to(self.device), w.to(self.device)
            found.append((-self.held_out_loss(self.module_, x)[w > 0], w[w > 0]))
        return _join(found, _get_ranks_of(batches))

    @torch.no_grad()
    def compute_valid_elbo(self, rows):
        """Return the mean ELBO of the held-out rows, in nats in the units of X."""
        scores, weights = self._compute_valid_elbos(rows)
        return float((scores * weights).sum() / weights.sum())

    def _compute_valid_elbos(self, rows):
        batches = self.get_iterator(rows, training=False)
        found = [self._score_rows(*batch) for batch in self._infer_valid(batches)]
        return _join(found, _get_ranks_of(batches))

    def _score_rows(self, x, w, output):
        """Return ELBOs of the rows of a batch, and their weights, where positive."""
        score = output.elbo(x)
        volume = torch.as_tensor(self.log_volume, dtype=score.dtype).to(w.device)
        score = score - (volume[:, None] if volume.dim() else volume)
        return score[w > 0], w[w > 0]

    @override
    def fit_loop(self, X, y=None, epochs=None, **fit_params):
        """Train; note whether the loss became non-finite or Ctrl-C was pressed."""
        self.diverged_ = self.interrupted_ = self.is_stopping_ = False
        self._drop_steps()
        self._move_weights_to_device()
        try:
            with matmul_precision(self.matmul_precision):
                super().fit_loop(X, y, epochs, **fit_params)
        except NonFiniteLossError:
            self.diverged_ = True
        except RankError:
            raise
        except (RuntimeError, ValueError):
            # torch refuses to draw from a prior or posterior of such weights
            if all(p.isfinite().all() for p in self.module_.parameters()):
                raise
            self.diverged_ = True
        except StopTraining:
            self.is_stopping_ = True
        except KeyboardInterrupt:
            # skorch's EarlyStopping stops training by the same exception as Ctrl-C
            self.interrupted_ = not any(
                isinstance(callback, EarlyStopping)
                and callback.misses_ >= callback.patience
                for _, callback in self.callbacks_
            )
            self.is_stopping_ = not self.interrupted_
            if self.interrupted_:
                if get_ranks() is not None:
                    # the others cannot go on
                    raise RankInterrupt from None
                self._use_averages()
        finally:
            self._drop_steps()
        return self


def _get_ranks_of(batches):
    """Return the processes that have further held-out rows, None without any."""
    return getattr(batches, "ranks", None)


def _join(pairs, ranks=None):
    """Return scores and weights of all batches, those of other processes too."""
    found = tuple(torch.cat(parts) for parts in zip(*pairs, strict=True))
    return found if ranks is None else ranks.join(found)


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
