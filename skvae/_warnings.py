"""Warnings in classes of their own, so that they can be filtered."""


class UnusedComponentsWarning(UserWarning):
    """Some components of the latent say nothing of the rows."""
