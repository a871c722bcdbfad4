"""Names of members become instances where parameters of theirs are set."""


def open_names(owner, params, registries, advice=None):
    """Return instances of what is a name, but whose parameters are to be set.

    Parameters
    ----------
    owner : BaseEstimator
    params : dict
        Of its `set_params`: ``inner__parameter`` sets one of ``owner.inner``.
    registries : dict of str to dict
        By parameter, what names stand for.
    advice : dict of str to str, default=None
        By parameter, what to do where a value has no parameters.

    Returns
    -------
    dict of str to object
        By parameter, with the parameters set that `params` has of it.

    Raises
    ------
    ValueError
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
