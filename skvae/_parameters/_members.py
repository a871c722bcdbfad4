"""Constructor arguments → members, or a clear refusal.

All names are resolved here, so that errors about parameters are worded alike.
"""

from functools import partial
from numbers import Integral

import numpy as np
from sklearn.base import clone

from .._columns._observed import (
    MAX_FEW,
    MAX_REPEATED,
    find_repeated,
    have_few_values,
)
from .._utils._checks import suggest
from .._utils._comparison import describe_meaning
from .._utils._nested_parameters import instantiate_named
from ..latents import LATENTS, Latent
from ..likelihoods import (
    LIKELIHOODS,
    Autoregressive,
    Bernoulli,
    Gaussian,
    GaussianMixture,
    Likelihood,
    PerColumn,
)
from ..likelihoods._autoregressive import MAX_COLUMNS, AutoregressiveColumns
from ..likelihoods._levels import LevelLikelihood, group_by_size
from ..networks import MLP, NETWORKS, Conv, Network
from ..objectives import ELBO, OBJECTIVES, Objective
from ._sparse_tables import name_sparse

# parameters whose names stand for instances with parameters of their own
MEMBERS = {
    "likelihood": (LIKELIHOODS, Likelihood),
    "latent": (LATENTS, Latent),
    "objective": (OBJECTIVES, Objective),
}

# parameters that are 'auto' by default
_AUTOMATIC = "likelihood", "network"
# widths of hidden layers, and rows from which on they are the widest
_NARROWEST, _WIDEST, _MANY_ROWS = 64, 128, 2000
# columns of the widest table whose columns depend on one another by default: a draw
# takes a pass for each
_MAX_COUPLED = 128


def open_members(estimator, params):
    """Return instances of members given by name, where `set_params` sets parameters.

    ``latent__prior`` makes an instance of ``latent="gaussian"``. Instances are keyed by
    the parameter of the estimator. Refuse values that have no parameters.
    """
    registries = {name: registry for name, (registry, _) in MEMBERS.items()}
    advice = {
        name: f"use another name, or an instance of skvae.{_find_room(base)}"
        for name, (_, base) in MEMBERS.items()
    }
    advice["network"] = (
        "set hidden_layer_sizes, activation and dropout, or use an instance of "
        "skvae.networks"
    )
    return instantiate_named(estimator, params, registries, advice)


def _find_room(base):
    """Return the public module of a kind of member."""
    return base.__module__.split(".")[1]


def _resolve(parameter, value, registry, base):
    """Return a member from its name or instance."""
    if isinstance(value, base):
        member = clone(value)
    elif isinstance(value, str) and value in registry:
        member = registry[value]()
    else:
        known = [*registry, "auto"] if parameter in _AUTOMATIC else [*registry]
        raise ValueError(
            f"{parameter}={value!r} is {_describe_stranger(value, base)}"
            f"{suggest(value, known)}; use one of {', '.join(map(repr, known))}, or an "
            f"instance of skvae.{_find_room(base)}."
        )
    member.check_parameters()
    return member


def _describe_stranger(value, base):
    """Return the reason why a value is not a member."""
    if isinstance(value, type) and issubclass(value, base):
        return f"a class, where {value.__name__}() is an instance"
    place = type(value).__module__.split(".")
    if place[0] == base.__module__.split(".")[0] and len(place) > 1:
        return f"one of skvae.{place[1]}"
    return "not known"


def resolve_network(network, hidden_layer_sizes, activation, dropout, image_shape=None):
    """Return the Network that the parameters name.

    'auto' is 'conv' for images, unless there are no hidden layers: the linear model.
    Widths that are 'auto' are those of large tables, see `_narrow`.
    """
    if isinstance(network, str) and network in ("auto", "mlp"):
        sizes = hidden_layer_sizes
        if isinstance(sizes, str):
            sizes = _WIDEST, _WIDEST
        if isinstance(sizes, (bool, set, dict)):
            raise ValueError(
                f"hidden_layer_sizes={sizes!r} must be an integer or a sequence of "
                "integers."
            )
        sizes = (int(sizes),) if isinstance(sizes, Integral) else tuple(sizes)
        if network == "auto" and image_shape is not None and sizes:
            network = "conv"
        else:
            network = MLP(sizes, activation, dropout)
            network.check_parameters()
            return network
    if isinstance(network, str) and network == "conv":
        network = Conv(activation=activation, dropout=dropout)
    network = _resolve("network", network, NETWORKS, Network)
    if network.needs_images and image_shape is None:
        raise ValueError(
            f"network={type(network).__name__.lower()!r} is for images: set "
            "image_shape=(channels, height, width), or use network='mlp'."
        )
    return network


def _narrow(network, n_rows, likelihood):
    """Make hidden layers narrower where a table is small and has numbers alone.

    Doubling the width of such networks multiplies the training time by two to four and
    does not improve the held-out score. Categories need wide layers: narrow ones learn
    how they depend on one another less accurately.
    """
    members = likelihood.list_members()
    if any(isinstance(member, (LevelLikelihood, Bernoulli)) for member in members):
        return
    width = max(_WIDEST * np.sqrt(n_rows / _MANY_ROWS), 2 * len(members), _NARROWEST)
    width = int(min(8 * np.ceil(width / 8), _WIDEST))
    network.set_params(hidden_layer_sizes=(width, width))


def resolve_likelihood(
    likelihood, columns, kinds, is_linear, for_numbers=None, array=None
):
    """Return the likelihood of all columns, a `PerColumn`.

    `columns` are the names of the columns or None, and `kinds` a `Kind` for each.
    'auto' for a column of numbers is `for_numbers`, or if None it is chosen by column,
    and is that of the linear model where the network is linear. Numbers have atoms next
    to other kinds of column, if they are integers or repeat in the rows of `array`.
    """
    names = list(range(len(kinds))) if columns is None else list(columns)
    if likelihood == "autoregressive" or isinstance(likelihood, Autoregressive):
        member = _resolve("likelihood", likelihood, LIKELIHOODS, Likelihood)
        if len(kinds) > MAX_COLUMNS:
            raise ValueError(
                f"likelihood={likelihood!r} is for tables of at most {MAX_COLUMNS} "
                f"columns, but X has {len(kinds)}; use likelihood='auto'."
            )
        return member.join(
            resolve_likelihood(
                member.base, columns, kinds, is_linear, for_numbers, array
            )
        )
    # a table of numbers only has one likelihood for all, and the fastest steps
    is_mixed = any(kind.likelihood != "auto" for kind in kinds)
    automatic = [
        _choose_automatically(kind, is_linear, for_numbers, n_atoms)
        for kind, n_atoms in zip(
            kinds, _count_atoms(kinds, array, is_mixed), strict=True
        )
    ]
    chosen = _choose_likelihoods(likelihood, names, automatic)
    groups = {}
    for column, (member, kind) in enumerate(zip(chosen, kinds, strict=True)):
        has_levels = kind.levels is not None
        if has_levels and not isinstance(member, (LevelLikelihood, Bernoulli)):
            advice = "use 'categorical' or 'ordinal'"
            if any(kind.levels is None for kind in kinds):
                advice += " for it, by a dict of columns and likelihoods"
            raise ValueError(
                f"Column {names[column]!r} holds categories, but likelihood="
                f"{type(member).__name__} is for numbers; {advice}."
            )
        # equal members are grouped: many columns then cost little more than one
        _, found = groups.setdefault((id(member), has_levels), (member, []))
        found.append(column)
    groups = [
        part
        for member, found in groups.values()
        for part in _split_by_size(member, found, kinds)
    ]
    if len(groups) == 1:
        return PerColumn.cover(groups[0][0], len(kinds))
    for member, found in groups:
        if member.is_joint:
            raise ValueError(
                f"likelihood={member!r} models columns jointly and needs all columns "
                f"of the table, but column {names[found[0]]!r} is beside columns with "
                "another likelihood."
            )
    return PerColumn([clone(m) for m, _ in groups], [found for _, found in groups])


def _count_atoms(kinds, array, is_mixed):
    """Return the number of atoms of every column, at most, ``(n_features,)``."""
    found = np.array([is_mixed and kind.is_integer for kind in kinds], dtype=bool)
    if not is_mixed or array is None:
        return MAX_REPEATED * found
    is_number = [kind.likelihood == "auto" for kind in kinds]
    numbers = np.flatnonzero(is_number & ~found)
    found[numbers] = find_repeated(array, numbers)
    repeated = np.flatnonzero(found)
    found = MAX_REPEATED * found
    found[repeated[have_few_values(array, repeated)]] = MAX_FEW
    return found


def _choose_automatically(kind, is_linear, for_numbers, n_atoms):
    """Return the likelihood of 'auto' for a kind of column."""
    if kind.likelihood != "auto":
        return kind.likelihood
    if for_numbers is not None:
        return for_numbers
    if is_linear:
        return "gaussian"
    return GaussianMixture(n_atoms=int(n_atoms)) if n_atoms else "gaussian_mixture"


def _choose_likelihoods(likelihood, names, automatic):
    """Return the resolved member of every column; equal ones are the same object."""
    if isinstance(likelihood, dict):
        unknown = [name for name in likelihood if name not in names]
        if unknown:
            raise ValueError(
                f"likelihood names column {unknown[0]!r}, but X has no such column"
                f"{suggest(unknown[0], names)}."
            )
        asked = [likelihood.get(name, "auto") for name in names]
    else:
        asked = [likelihood] * len(automatic)
    asked = [
        auto if isinstance(given, str) and given == "auto" else given
        for given, auto in zip(asked, automatic, strict=True)
    ]
    # of wide tables each object once
    objects = {id(given): given for given in asked}
    described = {key: repr(describe_meaning(given)) for key, given in objects.items()}
    keys = [described[id(given)] for given in asked]
    resolved = {}
    for key, given in zip(keys, asked, strict=True):
        if key not in resolved:
            # values that are not known are refused here
            resolved[key] = _resolve("likelihood", given, LIKELIHOODS, Likelihood)
    return [resolved[key] for key in keys]


def _split_by_size(member, columns, kinds):
    """Return groups of columns with similar numbers of levels, and their members."""
    sizes = [kinds[column].n_levels for column in columns]
    is_sized = (
        not isinstance(member, LevelLikelihood) or member.n_categories is not None
    )
    if is_sized or sizes[0] is None:
        return [(member, columns)]
    found = []
    for part in group_by_size(sizes):
        counts = tuple(int(sizes[i]) for i in part)
        sized = clone(member).set_params(n_categories=counts)
        found.append((sized, [columns[i] for i in part]))
    return found


def _split_like(likelihood, other):
    """Return a `PerColumn` of which no group has columns of two groups of another."""
    groups = [
        (member, [column for column in columns if column in part])
        for member, columns in likelihood.list_groups()
        for part in map(set, other.columns)
    ]
    groups = [(member, columns) for member, columns in groups if columns]
    if len(groups) == len(likelihood.members):
        return likelihood
    return PerColumn([clone(m) for m, _ in groups], [c for _, c in groups])


def _resolve_stages(
    estimator, table, network, latent, objective, for_numbers, has_images
):
    """Return what is learned of p(x|z), first and after it, by names of `Plan`.

    With ``likelihood='auto'``, or a dict, 'auto' numbers have one noise in the map. The
    density after it has a likelihood for every column, and columns depend on those
    before them unless a dict names any, or the table is wide. A map is trained on the
    ELBO: other objectives are for the density itself, and so are latents whose z cannot
    be kept.
    """
    is_linear, asked = network.is_linear, estimator.likelihood
    if table.is_sparse:
        asked = name_sparse(asked, table)
    resolve = partial(
        resolve_likelihood,
        asked,
        table.labels,
        table.kinds,
        is_linear,
        array=table.array,
    )
    density = estimator.density
    is_named = not (isinstance(asked, dict) or asked == "auto")
    if isinstance(asked, dict):
        is_named = len(asked) == len(table.kinds) and "auto" not in asked.values()
    # a linear model is map and density in one
    is_joint = is_linear or latent.keep_point is None
    is_bound = isinstance(objective, ELBO) and not objective.n_refine
    is_joint = is_joint or not is_bound
    if is_named or density == "joint" or (density == "after" and is_joint):
        return {"likelihood": resolve(for_numbers=for_numbers)}
    stages = {"likelihood": resolve(for_numbers=Gaussian("shared")), "is_map": True}
    if density == "after":
        after = _split_like(resolve(for_numbers=for_numbers), stages["likelihood"])
        is_narrow = 1 < len(table.kinds) <= _MAX_COUPLED
        if isinstance(asked, str) and is_narrow and not has_images:
            after = Autoregressive().join(after)
        stages["density"] = after
    return stages


def resolve_latent(latent, is_linear):
    """Return the Latent, with a choice for the prior 'auto'."""
    member = _resolve("latent", latent, LATENTS, Latent)
    if getattr(member, "prior", None) == "auto":
        member.set_params(prior="standard" if is_linear else "mixture")
    return member


def _check_refinement(objective, latent):
    """Refuse steps of E for posteriors that are not made of raw outputs alone."""
    if getattr(objective, "n_refine", 0) and latent.posterior_takes_prior:
        raise ValueError(
            f"objective={objective!r} refines q(z|x) with p(x, z) fixed, but the "
            f"posterior of latent={latent!r} depends on its prior; use "
            "latent='gaussian', or n_refine=0."
        )


def resolve_members(estimator, table, image_shape, for_numbers=None, n_rows=None):
    """Return the members of an estimator by their names in `Plan`.

    ``n_rows`` are the rows to train on; None are those of a stream.
    """
    network = resolve_network(
        estimator.network,
        estimator.hidden_layer_sizes,
        estimator.activation,
        estimator.dropout,
        image_shape,
    )
    is_linear = network.is_linear
    has_images = image_shape is not None or network.has_outputs
    objective = _resolve("objective", estimator.objective, OBJECTIVES, Objective)
    latent = resolve_latent(estimator.latent, is_linear)
    _check_refinement(objective, latent)
    stages = _resolve_stages(
        estimator, table, network, latent, objective, for_numbers, has_images
    )
    likelihood = stages["likelihood"]
    # networks of a user's own have the layers they were made with
    is_automatic = isinstance(estimator.network, str) and isinstance(
        estimator.hidden_layer_sizes, str
    )
    if is_automatic and type(network) is MLP and n_rows is not None:
        _narrow(network, n_rows, likelihood)
    if has_images and isinstance(likelihood, AutoregressiveColumns):
        raise ValueError(
            f"likelihood={estimator.likelihood!r} is not for images, nor for networks "
            "that bring the raw outputs of the decoder; use likelihood='auto'."
        )
    return {
        "network": network,
        **stages,
        "latent": latent,
        "objective": objective,
    }
