"""Facts in words: one line a topic, ``(label, text)``."""

from __future__ import annotations

from typing import Any

# letters of names and texts that users have chosen
_MOST_LETTERS = 60
_PLURALS = {"category": "categories", "ordered category": "ordered categories"}
_CONTAINERS = {"array": "an array", "pandas": "a data frame of pandas"}


def clean(text: str, n_most: int = _MOST_LETTERS) -> str:
    """Return a text on one line, without control characters, and not too long."""
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[: 4 * n_most])
    return text if len(text) <= n_most else f"{text[: n_most - 3]}..."


def count(number: int, noun: str) -> str:
    """Return a number with its noun."""
    plural = _PLURALS.get(noun, f"{noun}s")
    return f"{number:,} {noun if number == 1 else plural}"


def show_share(share: float) -> str:
    """Return a share as a percentage of three digits."""
    return f"{100 * share:.3g} %"


def describe(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Return lines of label and text."""
    lines = [
        ("Columns", _describe_columns(facts["columns"])),
        ("Missing", _describe_missing(facts["columns"])),
        ("Likelihood", _describe_likelihoods(facts["columns"])),
        ("Latent", _describe_latent(facts["latent"])),
        ("Networks", _describe_networks(facts["networks"])),
        ("Held-out", _describe_held_out(facts["held_out"])),
        ("Training", _describe_training(facts["training"])),
        ("Stopped by", facts["training"]["end"]),
        ("Outliers", _describe_outliers(facts.get("outliers"))),
        *[("Warning", clean(text, 500)) for text in facts["warnings"]],
        ("Versions", ", ".join(f"{k} {v}" for k, v in facts["versions"].items())),
    ]
    return [(label, text) for label, text in lines if text]


def title(facts: dict[str, Any]) -> str:
    """Return what was fitted to what."""
    columns = facts["columns"]
    table = count(columns["n_columns"], "column")
    if facts["n_rows"] is not None:
        table = f"{count(facts['n_rows'], 'row')} of {table}"
    container = _CONTAINERS.get(columns["container"], columns["container"])
    return f"{clean(facts['estimator'])} fitted to {table} ({container})"


def _describe_columns(columns: dict[str, Any]) -> str:
    parts = [count(number, kind) for kind, number in columns["kinds"].items()]
    text = ", ".join(parts)
    if columns["image_shape"] is not None:
        text += f", images of {' x '.join(map(str, columns['image_shape']))}"
    if columns["n_constant"]:
        text += f"; {columns['n_constant']:,} constant"
    return text


def _describe_missing(columns: dict[str, Any]) -> str:
    if not columns["n_with_missing"]:
        return "none"
    n_columns = count(columns["n_with_missing"], "column")
    return f"{show_share(columns['missing_share'])} of the cells, in {n_columns}"


def _describe_likelihoods(columns: dict[str, Any]) -> str:
    return ", ".join(f"{k} ({n:,})" for k, n in columns["likelihoods"].items())


def _describe_latent(latent: dict[str, Any]) -> str:
    text = f"{clean(latent['family'])}, {count(latent['n_components'], 'component')}"
    if latent["n_active"] is not None:
        text += (
            f", {latent['n_active']:,} active with {latent['nats']:.3g} nats per row"
        )
    return text


def _describe_networks(networks: dict[str, Any]) -> str:
    sizes = networks["hidden_layer_sizes"]
    text = clean(networks["network"])
    if sizes is not None:
        text += (
            f" ({', '.join(map(str, sizes))})" if sizes else " without hidden layers"
        )
    text += f", {count(networks['n_weights'], 'weight')}"
    if networks["n_weights_map"] is not None:
        text += f", and {networks['n_weights_map']:,} of the map"
    if networks["n_members"] > 1:
        text += f"; {networks['n_members']} members like this"
    return text


def _describe_held_out(held_out: dict[str, Any]) -> str:
    score, start = held_out["score"], held_out["before_training"]
    if score is None:
        return "no rows were held out"
    is_error = held_out["what"] == "reconstruction"
    name = "minus the error of the reconstruction, in units of the noise"
    if not is_error:
        name = f"nats per row ({clean(held_out['what'])})"
    text = f"{score:.4g} {name}"
    return text if start is None else f"{text}; {start:.4g} before training"


def _describe_training(training: dict[str, Any]) -> str:
    names = {"all": "", "map": " of the map", "density": " of the density"}
    parts = [
        count(number, "epoch") + names.get(stage, f" of {stage}")
        for stage, number in training["epochs"].items()
    ]
    text, best = ", ".join(parts) or "no epochs", training["best_epoch"]
    if best is not None and parts:
        text += f"; best: {best or 'the start'}"
    if training["seconds"] is not None:
        text += f"; {training['seconds']:.3g} s"
    return f"{text} on {training['device']}; {training['n_draws']} draws for scores"


def _describe_outliers(outliers: dict[str, Any] | None) -> str:
    if outliers is None:
        return ""
    text = (
        f"threshold {outliers['offset']:.4g} nats ({outliers['score_method']}), "
        f"contamination={outliers['contamination']!r}"
    )
    if outliers["flagged_share"] is not None:
        text += f"; {show_share(outliers['flagged_share'])} of the rows are below it"
    text += f"; {outliers['n_trimmed']:,} left out of training"
    if outliers["n_calibration"] is not None:
        text += f"; {outliers['n_calibration']:,} calibration scores"
    return text
