"""Lines through z along which traversals go, one for each component."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._estimators import (
    check_components,
    get_latent,
    name_components,
    rank_components,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._typing import Components

# share of the rows below the first and above the last step
_TAIL = 0.02


def make_lines(
    model: Any,
    places: NDArray[Any],
    components: Components | None,
    n_steps: int,
    most: int,
) -> tuple[NDArray[Any], list[str], NDArray[Any]]:
    """Return points along components, their names, and values at the steps."""
    n_components = places.shape[1]
    if components is None:
        ranked = rank_components(model, n_components)
        # layers that the decoder does not see change nothing
        split = getattr(get_latent(model), "split", None)
        if split is not None and n_components == model.n_components_:
            is_bottom = get_latent(model).decoder == "bottom"
            n_seen = split(n_components)[0] if is_bottom else n_components
            ranked = ranked[ranked < n_seen]
        components = np.sort(ranked[:most])
    chosen = check_components(components, n_components)
    # a row of the table: there may be none at the mean of them
    scale = places.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    distance = np.abs((places - np.median(places, axis=0)) / scale).sum(axis=1)
    middle = places[distance.argmin()]
    ends = np.quantile(places[:, chosen], [_TAIL, 1 - _TAIL], axis=0)
    steps = np.linspace(ends[0], ends[1], n_steps).T
    Z = np.tile(middle, (len(chosen), n_steps, 1))
    for line, component in enumerate(chosen):
        Z[line, :, component] = steps[line]
    names = name_components(model, n_components)
    return Z, [names[j] for j in chosen], steps


def make_category_lines(
    model: Any,
    places: NDArray[Any],
    variables: Components | None,
    n_steps: int,
    most: int,
) -> tuple[NDArray[Any], list[str], list[str]]:
    """Return all categories of each variable, the others at their most frequent one."""
    n_categories = get_latent(model).n_categories or places.shape[1]
    shares = places.mean(axis=0).reshape(-1, n_categories)
    n_variables = len(shares)
    if variables is None:
        variables = np.arange(n_variables)[:most]
    chosen = check_components(variables, n_variables)
    one = np.eye(n_categories)
    Z = np.empty((len(chosen), n_categories, n_variables, n_categories))
    Z[:] = one[shares.argmax(axis=1)]
    for line, variable in enumerate(chosen):
        Z[line, :, variable] = one
    names = ["category" if n_variables == 1 else f"variable {v}" for v in chosen]
    steps = [str(k) for k in range(n_categories)]
    return Z.reshape(len(chosen), n_categories, -1), names, steps
