"""Rules that all rows of titanic obey, and how many drawn rows break them.

Columns repeat one another in other words: alive is survived, class is pclass,
embark_town is embarked, alone means no sibsp and no parch, a child is younger than 16,
who agrees with sex, and adult_male is a man. Every contender is fitted to all rows and
draws 500; a line is the share of draws that break a rule, for each rule and for any.
``python benchmarks/rules.py --help`` names the options; the table comes from the
folder that `tables.find_folder` returns.
"""

import pandas as pd
from _run import Axis, main, timed
from tables import find_folder

N_DRAWS = 500
CONTENDERS = {
    "skvae": {},
    "skvae, joint": {"density": "joint"},
    "skvae, map": {"density": None},
}
RULES = {
    "alive": lambda rows: (rows["alive"] == "yes") == (rows["survived"] == 1),
    "class": lambda rows: (
        rows["class"].map({"First": 1, "Second": 2, "Third": 3}) == rows["pclass"]
    ),
    "embark_town": lambda rows: _is_known(rows, "embarked", "embark_town"),
    "alone": lambda rows: (
        rows["alone"].astype(bool) == (rows["sibsp"] + rows["parch"] == 0)
    ),
    "child": lambda rows: (
        rows["age"].isna() | ((rows["who"] == "child") == (rows["age"] < 16))
    ),
    "sex": lambda rows: (
        (rows["who"] == "child") | ((rows["who"] == "man") == (rows["sex"] == "male"))
    ),
    "adult_male": lambda rows: (
        rows["adult_male"].astype(bool) == (rows["who"] == "man")
    ),
}


def _is_known(rows, letter, town):
    either = rows[letter].isna() | rows[town].isna()
    return either | (rows[town].str[0] == rows[letter])


def find_broken(rows):
    """Return which rows break which rule, a frame of bool."""
    return pd.DataFrame({name: ~obeys(rows) for name, obeys in RULES.items()})


def measure(options, contender, q, seed):
    """Return the shares of draws that break rules."""
    from skvae import VAETransformer

    X = pd.read_csv(find_folder() / "mixed" / "titanic.csv")
    size = {} if q == "auto" else {"n_components": int(q)}
    vae = VAETransformer(**size, random_state=seed, **CONTENDERS[contender])
    _, seconds = timed(vae.fit, X)
    broken = find_broken(vae.sample(N_DRAWS, random_state=seed))
    assert not find_broken(X).any(axis=None)
    found = {name: 100 * broken[name].mean() for name in RULES}
    found |= {"any": 100 * broken.any(axis=1).mean(), "seconds": seconds}
    return found | {"components": vae.n_components_}


AXES = [
    Axis("contender", "--contenders", CONTENDERS, CONTENDERS, keeps_all=True),
    Axis("q", "--q", ("auto",)),
    Axis("seed", "--seeds", (0,)),
]
SHARES = dict.fromkeys([*RULES, "any"], ".1f")
TABLE = ["contender", "q"], SHARES | {"components": ".0f", "seconds": ".1f"}


if __name__ == "__main__":
    main(__doc__, AXES, measure, TABLE)
