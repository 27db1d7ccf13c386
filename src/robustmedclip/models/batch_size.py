"""How many images pass through an encoder at a time: a matter of the device and the encoder, not of the data."""

import math
from typing import Any

import torch

from robustmedclip.models.interface import VisionLanguageModel

#: Images per forward pass on a CPU. Fixed, and every pass is filled up to it, so that an image's logits don't
#: depend on how many images are scored.
BATCH_SIZE = 50

#: Of those, images that a transformer takes at a time: what layers make of more leaves the cache of a core.
_OF_TOKENS = 17

#: Most images per pass on a GPU: more keep it no busier.
_MOST = 512
#: Part of a GPU's memory that passes may take; the rest is for weights, and for what else there is.
_FRACTION = 0.5
#: Largest outputs of a layer that are held at a time, those of all passes that are on their way counted.
_HELD = 8


def batch_size(model: VisionLanguageModel) -> int:
    """Images per forward pass of a model where it is: the same on every device of a kind."""
    if model.device.type != "cuda":
        return BATCH_SIZE
    return images_per_pass(torch.cuda.get_device_properties(model.device).total_memory, largest_output(model))


def images_at_a_time(model: VisionLanguageModel) -> int:
    """Images of a pass that a model takes at a time; their features have the same bytes as all in one.

    Where a single convolution makes tokens of an image, as in ViTs, fewer are faster on a CPU.
    """
    visual = model.network.get_submodule("visual")
    has_tokens = sum(isinstance(layer, torch.nn.Conv2d) for layer in visual.modules()) == 1
    return _OF_TOKENS if has_tokens and model.device.type == "cpu" else batch_size(model)


def images_per_pass(memory: int, largest: int) -> int:
    """Images per forward pass on a GPU, a power of two.

    Parameters
    ----------
    memory : int
        Bytes of memory that the GPU has.
    largest : int
        Bytes of the largest output of a layer, of one image.
    """
    fitting = int(_FRACTION * memory / (_HELD * largest))
    return min(_MOST, 1 << int(math.log2(max(1, fitting))))


@torch.inference_mode()
def largest_output(model: VisionLanguageModel) -> int:
    """Bytes that the largest output of a layer of the visual encoder takes for one image, in float32."""
    sizes: list[int] = []

    def note(_module: Any, _inputs: Any, output: Any) -> None:
        sizes.extend(4 * part.numel() for part in _tensors(output))

    hooks = [layer.register_forward_hook(note) for layer in model.network.modules()]
    try:
        model.encode_image(torch.zeros(1, 3, *model.preprocess.size, device=model.device))
    finally:
        for hook in hooks:
            hook.remove()
    return max(sizes)


def encoding(model: VisionLanguageModel, precision: torch.dtype) -> str:
    """In which precision a model encodes images; on a GPU also which kind it is, and the images per pass."""
    name = str(precision).removeprefix("torch.")
    if model.device.type != "cuda":
        return name
    return f"{name} on {torch.cuda.get_device_name(model.device)}, {batch_size(model)} images a pass"


def _tensors(output: Any) -> list[torch.Tensor]:
    """The tensors among what a layer gives."""
    parts = output if isinstance(output, list | tuple) else [output]
    return [part for part in parts if isinstance(part, torch.Tensor)]
