"""Linear layers on a CPU, multiplied by oneDNN."""

import pytest
import torch
from torch import nn

from robustmedclip.models.linear_layers import OneDNNLinear

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch comes without oneDNN here")


def test_outputs_are_those_of_torch_but_for_rounding_and_the_same_with_any_number_of_threads():
    layer, x = nn.Linear(384, 96).requires_grad_(False), torch.randn(50, 65, 384)
    expected, outputs, threads = layer(x), [], torch.get_num_threads()
    for count in (1, 2, 4):
        torch.set_num_threads(count)
        with OneDNNLinear(), torch.inference_mode():
            outputs.append(layer(x))
    torch.set_num_threads(threads)
    assert torch.equal(outputs[0], outputs[1]) and torch.equal(outputs[0], outputs[2])
    assert (outputs[0] - expected).abs().max() < 1e-5


@pytest.mark.parametrize("trained", ["x", "weight", "all"])
def test_what_is_trained_has_the_gradients_of_torch_but_for_rounding(trained):
    layer, x = nn.Linear(80, 40), torch.randn(3, 60, 80)[:, ::5]
    layer.requires_grad_(trained != "x")
    x.requires_grad_(trained != "weight")
    tensors = [tensor for tensor in (x, *layer.parameters()) if tensor.requires_grad]
    expected = torch.autograd.grad(layer(x).square().sum(), tensors)
    with OneDNNLinear():
        output = layer(x)
    torch.testing.assert_close(torch.autograd.grad(output.square().sum(), tensors), expected)
