"""Parameters of members that are given by name, as ``likelihood__df``."""

from ._checks import suggest


def instantiate_named(owner, params, registries, advice=None):
    """Return instances of the members that are names, with their parameters set.

    `params` are those of `set_params` of the owner: ``member__parameter`` sets a
    parameter of a member. `registries` has names and classes by member, and `advice`
    the end of the error message for a member that has no parameters.
    """
    found, own = {}, owner.get_params(deep=False)
    for key, value in params.items():
        name, _, inner = key.partition("__")
        given = params.get(name, own.get(name))
        if not inner or name not in own or hasattr(given, "set_params"):
            continue
        registry = registries.get(name, {})
        if not isinstance(given, str) or given not in registry:
            hint = (advice or {}).get(name)
            raise ValueError(
                f"{key} cannot be set, as {name}={given!r}{suggest(given, registry)} "
                f"has no parameters of its own{'; ' + hint if hint else ''}."
            )
        found.setdefault(name, registry[given]()).set_params(**{inner: value})
    return found
