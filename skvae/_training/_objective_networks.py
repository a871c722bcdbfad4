"""Networks that an objective has of its own, before and after the training of a net.

In every step between, `Objective.learn` trains them.
"""

import torch

from .._utils._seed import seeded
from ..objectives import Objective

# of the draws that a trained model is diagnosed on
_DIAGNOSIS_SEED = 0


def start_objective(plan, begin, net):
    """Let the objective make its networks, if it has any, for rows of the table."""
    if type(plan.objective).start is Objective.start:
        return
    x = begin.sample_rows(plan.generator)[-1].to(net.device).to(torch.float32)
    with torch.no_grad():
        plan.objective.start(net.module_(x), x)


def diagnose(net, columns, X):
    """Return the objective's warning about the model of rows X, or None."""
    objective = net.criterion_.objective
    if type(objective).diagnose is Objective.diagnose:
        return None
    x = torch.as_tensor(columns.encode(X)[:], dtype=torch.float32).to(net.device)
    net._set_training(False)
    with seeded(_DIAGNOSIS_SEED, net.device), torch.no_grad():
        return objective.diagnose(net.module_(x), x)
