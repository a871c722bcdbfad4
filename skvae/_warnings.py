"""Warnings in classes of their own, so that they can be filtered."""


class UnusedComponentsWarning(UserWarning):
    """Some components of the latent say nothing of the rows."""


class UnknownCategoriesWarning(UserWarning):
    """A table has categories that `fit` has not seen; they are treated as missing."""


class EffectiveSampleSizeWarning(UserWarning):
    """Draws given some values rest on few draws of the latent."""
