"""Dropout whose masks are quick to draw."""

import pytest
import torch

from robustmedclip.adaptation.dropout import Dropout


@pytest.mark.parametrize("probability", [0.1, 0.5])
def test_as_many_numbers_as_the_probability_says_are_dropped_and_the_mean_stays(probability):
    torch.manual_seed(0)
    x = torch.ones(64, 16, 32, 32).to(memory_format=torch.channels_last)
    output = Dropout(probability)(x)
    deviation = (probability * (1 - probability) / x.numel()) ** 0.5
    assert abs((output == 0).double().mean() - probability) < 4 * deviation
    assert abs(output.double().mean() - 1) < 4 * deviation / (1 - probability)
    assert output.unique().numel() == 2


def test_what_is_dropped_has_no_gradient_and_the_seed_tells_which():
    x, layer, masks = torch.ones(3, 5, requires_grad=True), Dropout(0.4), []
    for _ in range(2):
        torch.manual_seed(1)
        output = layer(x)
        (gradient,) = torch.autograd.grad(output.sum(), x)
        assert torch.equal(gradient, output)
        masks.append(output == 0)
    assert torch.equal(*masks) and masks[0].any()


def test_nothing_is_dropped_in_evaluation():
    x = torch.randn(10, 3)
    assert torch.equal(Dropout(0.9).eval()(x), x)
