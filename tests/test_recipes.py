"""Recipes of docs/user_guide/recipes.md; a package that is missing skips its own."""

import pytest
from pages import Page

PAGE = Page("recipes.md")

# title of the section: modules that it needs, and what must be true after it
RECIPES = {
    "SHAP": (
        ["shap"],
        """
expected = detector.score_samples(rows, method="elbo")
np.testing.assert_allclose(
    shares.values.sum(axis=1) + shares.base_values, expected, rtol=1e-6
)
assert -0.5 < shares.base_values[0] <= 0
assert table.columns[0] == "age"
assert shares.values[0].argmin() == cells.to_numpy()[0].argmin() == 0
# with rows of a background, as is said below the recipe
numbers = table[["age", "income"]].dropna().to_numpy()
other = VAEOutlierDetector(1, max_epochs=2, random_state=0).fit(numbers)
for explained in (
    shap.PermutationExplainer(
        other.score_samples, shap.maskers.Independent(numbers, max_samples=20), seed=0
    )(numbers[:2], silent=True),
    shap.KernelExplainer(other.score_samples, numbers[:20])(numbers[:2], silent=True),
):
    total = explained.values.sum(axis=1) + explained.base_values
    np.testing.assert_allclose(total, other.score_samples(numbers[:2]), rtol=1e-5)
""",
    ),
    "skore": (
        ["skore"],
        """
assert {"mean_vae", "mean_pca"} <= set(summary.columns), summary.columns
assert summary.loc["accuracy", "mean_vae"] > 0.5
""",
    ),
    "skrub": (
        ["skrub"],
        """
assert kinds["day"] == "datetime"
assert "empty" not in kinds
assert kinds["region"] == "category" and kinds["education"] == "ordered category"
assert cleaned.transform(raw).shape == (300, 2)
assert model[0].transform(table).shape[1] == table.shape[1] + 2
assert set(labels) <= {-1, 1}
assert vectorized.transform(table).shape == (300, 2)
try:
    tabular_pipeline(VAETransformer())
except TypeError as error:
    assert "must have a predict attribute" in str(error)
""",
    ),
    "feature-engine": (
        ["feature_engine"],
        """
assert list(Z.columns) == ["vaetransformer0", "vaetransformer1"]
assert vae.columns_.to_frame().loc["region", "levels"] == "2: Rare, south"
""",
    ),
    "imbalanced-learn": (
        ["imblearn"],
        """
for pipeline in (before, after):
    assert pipeline.predict(table).shape == (300,)
    assert pipeline.named_steps["vaetransformer"].n_features_in_ == 6
""",
    ),
    "mlflow": (
        ["mlflow", "mlflow.sklearn", "skops"],
        """
assert (same.score_samples(table) == detector.score_samples(table)).all()
assert (labels == detector.predict(table)).all()
assert names == ["skvae._outliers._detector.VAEOutlierDetector"]
try:
    mlflow.sklearn.save_model(detector, "refused", pip_requirements=["skvae"])
except mlflow.MlflowException as error:
    assert "The saved sklearn model references untrusted types" in str(error)
else:
    raise AssertionError("mlflow does not ask for names any more: tell it on the page")
from sklearn.preprocessing import StandardScaler
mlflow.sklearn.autolog()
logged_by_itself = make_pipeline(
    StandardScaler(), VAETransformer(1, max_epochs=1, random_state=0)
).fit(table[["age", "income"]])
models = mlflow.search_logged_models(output_format="list")
assert {model.name for model in models} == {"detector", "model"}
""",
    ),
}


def test_every_recipe_is_tried_and_names_how_to_install_its_package():
    assert PAGE.list_recipes() == list(RECIPES)
    table = PAGE.sections["What can go wrong"]
    for section, (modules, _) in RECIPES.items():
        assert PAGE.get_command(section), section
        assert f"'{modules[0]}'`" in table


@pytest.mark.parametrize("section", RECIPES)
def test_recipe_runs(section, tmp_path):
    modules, check = RECIPES[section]
    PAGE.require(section, modules)
    done = PAGE.run(section, tmp_path, check)
    assert done.returncode == 0, done.stderr[-5000:]
