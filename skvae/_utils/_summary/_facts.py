"""Facts of a fitted estimator, read from its fitted attributes: a dict of dicts.

Values are numbers, texts, lists and dicts of them; what is not known is None.
"""

from __future__ import annotations

from collections import Counter
from numbers import Integral
from typing import Any


def collect_facts(estimator: Any) -> dict[str, Any]:
    """Return the facts of a fitted estimator by topic."""
    net = estimator.net_
    record = vars(estimator).get("_fit_record") or {}
    return {
        "estimator": type(estimator).__name__,
        "n_rows": record.get("n_rows"),
        "columns": _collect_columns(estimator.columns_),
        "latent": _collect_latent(estimator, net.module_),
        "networks": _collect_networks(net),
        "held_out": _collect_held_out(estimator, net),
        "training": {
            "epochs": _count_epochs(net),
            "best_epoch": _find_best_epoch(net),
            "end": record.get("end"),
            "seconds": record.get("seconds"),
            "device": str(estimator.device_),
            "n_draws": len(estimator._noise[0]),
        },
        "warnings": list(record.get("warnings", [])),
        "versions": dict(record.get("versions", {})),
    }


def _collect_columns(columns: Any) -> dict[str, Any]:
    likelihoods = [
        name if varies and not columns.all_constant else None
        for name, varies in zip(_list_likelihoods(columns), columns.varies, strict=True)
    ]
    missing = 1 - columns.observed_share
    shape = columns.image_shape
    return {
        "container": columns.container,
        "n_columns": len(columns.kinds),
        "image_shape": None if shape is None else list(shape),
        "kinds": dict(Counter(kind.name for kind in columns.kinds).most_common()),
        "n_constant": likelihoods.count(None),
        "missing_share": float(missing.mean()),
        "n_with_missing": int((missing > 0).sum()),
        "likelihoods": dict(Counter(filter(None, likelihoods)).most_common()),
    }


def _list_likelihoods(columns: Any) -> list[Any]:
    return list(columns.likelihoods or [None] * len(columns.kinds))


def list_columns(columns: Any, n_most: int) -> list[dict[str, Any]]:
    """Return name, kind, likelihood, levels and missing share of the first columns."""
    n_shown = min(n_most, len(columns.kinds))
    names = columns.names
    likelihoods, found = _list_likelihoods(columns), []
    for j in range(n_shown):
        kind, varies = columns.kinds[j], columns.varies[j] and not columns.all_constant
        found.append(
            {
                "column": str(j if names is None else names[j]),
                "kind": kind.name,
                "likelihood": likelihoods[j] if varies else None,
                "levels": kind.n_levels,
                "missing": float(1 - columns.observed_share[j]),
            }
        )
    return found


def _collect_latent(estimator: Any, module: Any) -> dict[str, Any]:
    kl = vars(estimator).get("kl_per_component_")
    return {
        "family": repr(module.latent),
        "n_components": int(module.n_components),
        "n_active": vars(estimator).get("n_active_components_"),
        "nats": None if kl is None else float(kl.sum()),
    }


def _has_sizes(network: Any) -> bool:
    """Return whether a network has the widths of its hidden layers."""
    sizes = getattr(network, "hidden_layer_sizes", None)
    is_listed = isinstance(sizes, (list, tuple))
    return is_listed and all(isinstance(size, Integral) for size in sizes)


def _count_weights(module: Any) -> int:
    return sum(p.numel() for p in module.parameters())


def _collect_networks(net: Any) -> dict[str, Any]:
    module = net.module_
    of_map = module.linear_start.map if module.is_refined else None
    # networks of a user's own may mean something else by the name
    sizes = module.network.hidden_layer_sizes if _has_sizes(module.network) else None
    return {
        "network": type(module.network).__name__,
        "hidden_layer_sizes": None if sizes is None else [int(size) for size in sizes],
        "n_weights": _count_weights(module),
        "n_weights_map": None if of_map is None else _count_weights(of_map),
        "n_members": 1 + len(net.module_others_),
    }


def _collect_held_out(estimator: Any, net: Any) -> dict[str, Any]:
    """Return the held-out score, and what it was before training.

    ``what`` names it; only ELBOs and other objectives are in nats per row.
    """
    best = dict(net.callbacks_)["best_weights"]
    start, what = getattr(best, "start_loss_", None), "ELBO"
    if net.held_out_loss is not None:
        what = "reconstruction"
    elif not net.criterion_.is_elbo:
        what = type(net.criterion_.objective).__name__
    return {
        "what": what,
        "score": vars(estimator).get("best_validation_score_"),
        "before_training": None if start is None else -start,
    }


def _count_epochs(net: Any) -> dict[str, int]:
    """Return the epochs of every stage, those that a stream has dropped included."""
    stages = [row.get("stage") for row in net.history]
    counts = Counter(stages) + Counter(net.dropped_)
    return {
        stage or "all": counts[stage] for stage in dict.fromkeys([*stages, *counts])
    }


def _find_best_epoch(net: Any) -> int | None:
    """Return the epoch of the last stage whose weights are kept.

    It is 0 for the weights before training, and None where no rows were held out.
    """
    best = dict(net.callbacks_)["best_weights"]
    if best.best_epoch_ is None or not best.restore:
        return None
    if best.best_epoch_ == 0:
        return 0
    rows = list(net.history)
    rows = [row for row in rows if row.get("stage") == rows[-1].get("stage")]
    marked = [i for i, row in enumerate(rows, 1) if row.get("valid_loss_best")]
    return marked[-1] if marked else None
