"""Parameters of members that are given by name, as ``likelihood__df``."""


def instantiate_named(owner, params, registries, advice=None):
    """Return instances of the members that are names, with their parameters set.

    Parameters
    ----------
    owner : BaseEstimator
    params : dict
        As for `set_params`: ``member__parameter`` sets a parameter of a member.
    registries : dict of str to dict
        By member, its names and classes.
    advice : dict of str to str, default=None
        By member, the advice of the error message.

    Returns
    -------
    dict of str to object
        New instances by member, only for members with parameters in `params`.

    Raises
    ------
    ValueError
        If a member has no parameters.
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
                f"{key} cannot be set, as {name}={given!r} has no parameters of its "
                f"own{'; ' + hint if hint else ''}."
            )
        found.setdefault(name, registry[given]()).set_params(**{inner: value})
    return found
