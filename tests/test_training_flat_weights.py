"""All weights in one tensor: equal to torch's own optimizers, and given back."""

import copy

import pytest
import torch
from torch import nn

from skvae._training._flat_weights import FlatAdam, FlatWeights, Stepper, make_stepper

OPTIMIZERS = [torch.optim.Adam, torch.optim.AdamW]
SHAPES = [(3, 5), (1, 5), (0, 4), (7,), (2, 4, 3)]
# sums in another order; there are no long ones
CLOSE = {"rtol": 1e-12, "atol": 1e-14}


def make_parameters():
    generator = torch.Generator().manual_seed(0)
    return [
        nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64))
        for shape in SHAPES
    ]


def make_optimizer(parameters, kind=torch.optim.AdamW, **params):
    """Return an optimizer of two groups that differ in rate and decay."""
    groups = [
        {"params": parameters[:2], "weight_decay": 0.3, "lr": 0.01},
        {"params": parameters[2:], "weight_decay": 0.0},
    ]
    return kind(groups, lr=0.002, betas=(0.8, 0.95), **params)


def fill_gradients(parameters, seed):
    generator = torch.Generator().manual_seed(seed)
    for p in parameters:
        grad = torch.randn(p.shape, generator=generator, dtype=p.dtype)
        if p.grad is None:
            p.grad = grad
        else:
            p.grad.copy_(grad)


def take_torch_steps(optimizer, parameters, seeds):
    for seed in seeds:
        fill_gradients(parameters, seed)
        optimizer.step()


def take_flat_steps(optimizer, parameters, seeds):
    """Take the same steps on flat weights; return these and what took them."""
    flat = FlatWeights([g["params"] for g in optimizer.param_groups])
    stepper = FlatAdam(optimizer, flat)
    for seed in seeds:
        fill_gradients(parameters, seed)
        stepper.step(stepper.get_rates(1.0))
    return flat, stepper


def owns_its_memory(tensor):
    return tensor.untyped_storage().nbytes() == tensor.nbytes


def test_weights_and_gradients_become_views_and_keep_their_values():
    parameters = make_parameters()
    before = [p.detach().clone() for p in parameters]
    flat = FlatWeights([parameters[:2], parameters[2:]])
    for p, view, value in zip(parameters, flat.split(flat.values), before, strict=True):
        assert torch.equal(p, value)
        assert p.data_ptr() == view.data_ptr()
        assert p.grad.shape == p.shape
    flat.values.fill_(2.0)
    flat.grad.fill_(3.0)
    for p in parameters:
        assert (p == 2).all()
        assert (p.grad == 3).all()


def test_every_weight_begins_at_64_bytes():
    parameters = [nn.Parameter(torch.randn(n)) for n in (1, 15, 16, 17, 40)]
    flat = FlatWeights([parameters[:3], parameters[3:]])
    for begin, _ in flat.spans:
        assert begin * parameters[0].element_size() % 64 == 0
    assert [(part.start, part.stop) for part in flat.slices] == [(0, 48), (48, 128)]


def test_weights_have_memory_of_their_own_again_and_no_gradient():
    parameters = make_parameters()
    before = [p.detach().clone() for p in parameters]
    flat = FlatWeights([parameters])
    flat.release()
    for p, value in zip(parameters, before, strict=True):
        assert torch.equal(p, value)
        assert owns_its_memory(p)
        assert p.grad is None
    flat.values.fill_(torch.nan)
    assert all(torch.isfinite(p).all() for p in parameters)


@pytest.mark.parametrize("length", [0.5, 2.0])
def test_gradient_is_bounded_as_by_torch(length):
    parameters = make_parameters()
    flat = FlatWeights([parameters])
    fill_gradients(parameters, 0)
    flat.grad.mul_(length / torch.linalg.vector_norm(flat.grad))
    twins = [nn.Parameter(p.detach().clone()) for p in parameters]
    for twin, p in zip(twins, parameters, strict=True):
        twin.grad = p.grad.clone()
    expected = torch.nn.utils.clip_grad_norm_(twins, 1.0)
    found = torch.empty((), dtype=torch.float64)
    flat.bound_gradient(1.0, found)
    torch.testing.assert_close(found, expected, **CLOSE)
    for twin, p in zip(twins, parameters, strict=True):
        torch.testing.assert_close(p.grad, twin.grad, **CLOSE)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_flat_steps_equal_those_of_torch(kind):
    ours, theirs = make_parameters(), make_parameters()
    optimizer = make_optimizer(ours, kind)
    take_flat_steps(optimizer, ours, range(5))
    reference = make_optimizer(theirs, kind)
    take_torch_steps(reference, theirs, range(5))
    for p, q in zip(ours, theirs, strict=True):
        torch.testing.assert_close(p, q, **CLOSE)
        state = optimizer.state[p]
        assert set(state) == {"step", "exp_avg", "exp_avg_sq"}
        assert state["step"] == 5
        for name in ("exp_avg", "exp_avg_sq"):
            assert state[name].shape == p.shape
            torch.testing.assert_close(state[name], reference.state[q][name], **CLOSE)


def test_adam_with_decoupled_weight_decay_is_adamw():
    params = {"decoupled_weight_decay": True}
    if "decoupled_weight_decay" not in torch.optim.Adam([nn.Parameter()]).defaults:
        pytest.skip("this torch does not have it")
    ours, theirs = make_parameters(), make_parameters()
    take_flat_steps(make_optimizer(ours, torch.optim.Adam, **params), ours, range(3))
    take_torch_steps(make_optimizer(theirs, torch.optim.AdamW), theirs, range(3))
    for p, q in zip(ours, theirs, strict=True):
        torch.testing.assert_close(p, q, **CLOSE)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_flat_steps_go_on_from_the_state_of_an_optimizer_and_back(kind):
    ours, theirs = make_parameters(), make_parameters()
    optimizer = make_optimizer(ours, kind)
    take_torch_steps(optimizer, ours, range(3))
    flat, stepper = take_flat_steps(optimizer, ours, range(3, 5))
    flat.release()
    stepper.release()
    take_torch_steps(optimizer, ours, range(5, 7))
    reference = make_optimizer(theirs, kind)
    take_torch_steps(reference, theirs, range(7))
    for p, q in zip(ours, theirs, strict=True):
        torch.testing.assert_close(p, q, **CLOSE)
        assert optimizer.state[p]["step"] == 7


def test_optimizer_is_saved_and_loaded_in_the_middle_of_flat_steps():
    ours, theirs = make_parameters(), make_parameters()
    optimizer = make_optimizer(ours)
    flat, stepper = take_flat_steps(optimizer, ours, range(3))
    state = copy.deepcopy(optimizer.state_dict())
    flat.release()
    stepper.release()
    other = make_optimizer(theirs)
    for p, q in zip(theirs, ours, strict=True):
        p.data.copy_(q.detach())
    other.load_state_dict(state)
    take_torch_steps(optimizer, ours, [3])
    take_torch_steps(other, theirs, [3])
    for p, q in zip(ours, theirs, strict=True):
        assert torch.equal(p, q)


def test_state_has_memory_of_its_own_again():
    parameters = make_parameters()
    optimizer = make_optimizer(parameters)
    flat, stepper = take_flat_steps(optimizer, parameters, range(2))
    flat.release()
    stepper.release()
    for state in optimizer.state.values():
        assert all(owns_its_memory(value) for value in state.values())
    stepper.first.fill_(torch.nan)
    for state in optimizer.state.values():
        assert torch.isfinite(state["exp_avg"]).all()


def test_rates_of_groups_may_be_scaled_for_one_step():
    ours, theirs = make_parameters(), make_parameters()
    optimizer = make_optimizer(ours)
    stepper = FlatAdam(optimizer, FlatWeights([ours[:2], ours[2:]]))
    fill_gradients(ours, 0)
    assert stepper.get_rates(0.5) == [0.005, 0.001]
    stepper.step(stepper.get_rates(0.5))
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.002]
    reference = make_optimizer(theirs)
    for group in reference.param_groups:
        group["lr"] *= 0.5
    take_torch_steps(reference, theirs, [0])
    for p, q in zip(ours, theirs, strict=True):
        torch.testing.assert_close(p, q, **CLOSE)


def test_rates_may_be_tensors():
    ours, theirs = make_parameters(), make_parameters()
    steppers = []
    for parameters in (ours, theirs):
        optimizer = make_optimizer(parameters)
        flat = FlatWeights([parameters[:2], parameters[2:]])
        steppers.append(FlatAdam(optimizer, flat))
        fill_gradients(parameters, 0)
    steppers[0].step([0.25, 0.5])
    steppers[1].step(list(torch.tensor([0.25, 0.5], dtype=torch.float64)))
    for p, q in zip(ours, theirs, strict=True):
        assert torch.equal(p, q)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_padding_stays_zero(kind):
    parameters = make_parameters()
    flat, stepper = take_flat_steps(make_optimizer(parameters, kind), parameters, [0])
    for p in parameters:
        p.data.fill_(torch.nan)
        p.grad.fill_(torch.nan)
    stepper.step(stepper.get_rates(1.0))
    for flat_tensor in (flat.values, flat.grad, stepper.first, stepper.second):
        is_weight = torch.zeros_like(flat_tensor, dtype=torch.bool)
        for begin, end in flat.spans:
            is_weight[begin:end] = True
        assert (~is_weight).sum() > 0
        assert (flat_tensor[~is_weight] == 0).all()


def test_state_can_be_forgotten():
    ours, theirs = make_parameters(), make_parameters()
    flat, stepper = take_flat_steps(make_optimizer(ours), ours, range(3))
    flat.values.copy_(FlatWeights([make_parameters()]).values)
    stepper.forget()
    fill_gradients(ours, 3)
    stepper.step(stepper.get_rates(1.0))
    take_torch_steps(make_optimizer(theirs), theirs, [3])
    for p, q in zip(ours, theirs, strict=True):
        torch.testing.assert_close(p, q, **CLOSE)


class OwnAdam(torch.optim.Adam):
    """What it does differently cannot be known."""


def add_step_hook(optimizer):
    optimizer.register_step_post_hook(lambda *args: None)


def add_step_pre_hook(optimizer):
    optimizer.register_step_pre_hook(lambda *args: None)


def take_a_step_with_some(optimizer):
    for p in optimizer.param_groups[0]["params"]:
        p.grad = torch.ones_like(p)
    optimizer.step()


@pytest.mark.parametrize(
    ("kind", "params"),
    [
        (torch.optim.Adam, {"amsgrad": True}),
        (torch.optim.AdamW, {"maximize": True}),
        (torch.optim.AdamW, {"capturable": True}),
        (torch.optim.AdamW, {"differentiable": True}),
        (OwnAdam, {}),
        (torch.optim.NAdam, {}),
    ],
)
def test_other_optimizers_take_their_own_steps(kind, params):
    parameters = make_parameters()
    optimizer = make_optimizer(parameters, kind, **params)
    assert not FlatAdam.fits(optimizer)
    assert type(make_stepper(optimizer, FlatWeights([parameters]))) is Stepper


@pytest.mark.parametrize(
    "change", [add_step_hook, add_step_pre_hook, take_a_step_with_some]
)
def test_what_happened_to_an_optimizer_may_forbid_flat_steps(change):
    optimizer = make_optimizer(make_parameters())
    assert FlatAdam.fits(optimizer)
    change(optimizer)
    assert not FlatAdam.fits(optimizer)


def test_other_optimizers_take_the_same_steps_on_views():
    ours, theirs = make_parameters(), make_parameters()
    optimizer = make_optimizer(ours, torch.optim.NAdam)
    FlatWeights([ours[:2], ours[2:]])
    stepper = Stepper(optimizer)
    for seed in range(3):
        fill_gradients(ours, seed)
        stepper.step(stepper.get_rates(1.0))
    take_torch_steps(make_optimizer(theirs, torch.optim.NAdam), theirs, range(3))
    for p, q in zip(ours, theirs, strict=True):
        torch.testing.assert_close(p, q, **CLOSE)
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.002]
