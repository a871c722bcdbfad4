"""The site of the documentation, to which "?" leads in HTML representations."""

ADDRESS = "https://skvae.github.io/skvae/"


class SiteLinkMixin:
    """Let scikit-learn link estimators and their members to their API pages."""

    _doc_link_module = "skvae"
    _doc_link_template = (
        f"{ADDRESS}reference/{{estimator_module}}.{{estimator_name}}.html"
    )
