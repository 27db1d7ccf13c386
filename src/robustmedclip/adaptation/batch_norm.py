"""Statistics of batch normalisation, re-estimated on the images of the task.

A shift of the images, such as other devices, moves the statistics of every layer (AdaBN; Li et al. 2016,
arXiv:1603.04779). Of few images they are noisy, and are mixed with those that the model has (Schneider et al. 2020,
arXiv:2006.16971, eq. 3).
"""

import copy

import numpy as np
import torch
from torch.optim.swa_utils import update_bn

from robustmedclip.adaptation.samples import Samples
from robustmedclip.models.batch_norm import running_statistics
from robustmedclip.models.batch_size import BATCH_SIZE
from robustmedclip.models.interface import VisionLanguageModel

#: N of eq. 3: the model's statistics count as much as those of so many images; chosen on development phantoms.
PRIOR = 32
#: Images of a data set that are looked at; more change little.
_MOST = 256


def adapted_statistics(
    model: VisionLanguageModel, samples: Samples, rng: np.random.Generator
) -> dict[str, torch.Tensor]:
    """Running means and variances of the visual encoder, adapted to images.

    They are the average over batches, in which every data set weighs alike, mixed with the model's own with the
    weights n and N = :data:`PRIOR`, n being the number of images.

    Parameters
    ----------
    model : VisionLanguageModel
        Is left as it was.
    samples : Samples
        Images, seen without augmentation.
    rng : numpy.random.Generator
        Draws the order of the images, and at most 256 of each data set.

    Returns
    -------
    dict
        Name in the network's state to tensor ``(channels,)``; empty for a model without such layers.
    """
    untuned = {name: value for name, value in running_statistics(model.network).items() if value.is_floating_point()}
    if not untuned:
        return {}
    members = [rng.permutation(inside)[:_MOST] for inside in samples.members() if len(inside)]
    # Smaller data sets are repeated, so that each batch has equally many images of all.
    order = np.stack([np.resize(inside, max(map(len, members))) for inside in members]).T.ravel()
    batches = np.array_split(order, max(1, round(len(order) / BATCH_SIZE)))
    adapted = copy.deepcopy(model.network.get_submodule("visual"))
    with torch.no_grad():
        update_bn((samples.pixels(batch, device=model.device) for batch in batches), adapted)
    images, state = sum(map(len, members)), adapted.state_dict()
    weight = images / (images + PRIOR)
    return {name: torch.lerp(value, state[name.removeprefix("visual.")], weight) for name, value in untuned.items()}
