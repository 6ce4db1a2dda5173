import numpy as np
import pytest
from reference.make_optim import ARCHIVE, BASE_LR, SCHEDULES

from vugrad import optim
from vugrad.graph import TensorNode

with np.load(ARCHIVE, allow_pickle=False) as archive:
    REFERENCE = {case: archive[case] for case in SCHEDULES}


def any_optimizer():
    return optim.SGD([TensorNode(np.zeros(1))], lr=BASE_LR)


def scheduled(case):
    optimizer = any_optimizer()
    return optimizer, SCHEDULES[case][1](optim, optimizer)


@pytest.mark.parametrize("case", SCHEDULES)
def test_rates_are_pytorchs(case):
    optimizer, schedule = scheduled(case)
    rates = []
    for _ in range(SCHEDULES[case][0]):
        rates.append(optimizer.lr)
        assert schedule.get_last_lr() == [optimizer.lr]
        assert type(optimizer.lr) is float
        schedule.step()
    np.testing.assert_allclose(rates, REFERENCE[case], rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("case", SCHEDULES)
@pytest.mark.parametrize("optimizer_first", [True, False])
def test_a_restored_schedule_goes_on_identically(case, optimizer_first):
    optimizer, schedule = scheduled(case)
    for _ in range(4):
        schedule.step()
    saved, state = optimizer.state_dict(), schedule.state_dict()
    schedule.step()

    other = any_optimizer()
    if optimizer_first:
        other.load_state_dict(saved)
    again = SCHEDULES[case][1](optim, other)
    if not optimizer_first:
        other.load_state_dict(saved)
    again.load_state_dict(state)
    assert other.lr == saved["lr"]
    again.step()
    assert other.lr == optimizer.lr


def test_a_one_cycle_ends_and_says_so():
    optimizer = any_optimizer()
    schedule = optim.OneCycleLR(optimizer, max_lr=1.0, total_steps=4)
    for _ in range(4):
        schedule.step()
    least = optimizer.lr
    assert least == pytest.approx(1 / 25 / 1e4)
    with pytest.raises(ValueError, match="total_steps=4, and this is step 5"):
        schedule.step()
    assert (optimizer.lr, schedule.last_step) == (least, 4)
