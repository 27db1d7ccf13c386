"""Features and logits of streams of images."""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from robustmedclip.devices import memory_explained, to_host, use_own_stream
from robustmedclip.images.pixels import rebatched
from robustmedclip.models.batch_size import BATCH_SIZE, batch_size, images_at_a_time
from robustmedclip.models.folding import with_folded_batch_norm
from robustmedclip.models.interface import VisionLanguageModel
from robustmedclip.parallel import cores, map_ahead

#: Most forward passes at a time: each holds the activations of a batch.
_MOST_STREAMS = 2
#: Most batches that are guarded ahead of a GPU at a time: each is held in memory.
_MOST_GUARDED = 4

_ADVICE = "end what else runs on it, or take one with more memory"

_CPU_FLAGS = Path("/proc/cpuinfo")


def best_device() -> torch.device:
    """A GPU that torch can use, if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fast_precision(device: torch.device) -> torch.dtype:
    """bfloat16 where the hardware multiplies it faster than float32: on a GPU, or a CPU with AMX; else float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    has_amx = _CPU_FLAGS.exists() and "amx_bf16" in _CPU_FLAGS.read_text()
    return torch.bfloat16 if has_amx else torch.float32


def move_to_device(model: VisionLanguageModel, precision: str) -> torch.dtype:
    """Move a model to :func:`best_device`; the precision that it runs in there.

    Convolutions in float32 are that from then on: by default, cuDNN takes TF32 for them, which has 10 bits of 23.

    Parameters
    ----------
    model : VisionLanguageModel
        Is moved in place.
    precision : str
        ``float32``; or ``auto``, :func:`fast_precision` of the device.
    """
    torch.backends.cudnn.allow_tf32 = False
    model.network.to(device := best_device())
    return torch.float32 if precision == "float32" else fast_precision(device)


def corruption_device(model: VisionLanguageModel) -> str:
    """Where the images of a model are corrupted: beside it on a GPU of CUDA, else on the CPU."""
    return str(model.device) if model.device.type == "cuda" else "cpu"


def image_features(
    model: VisionLanguageModel,
    batches: Iterable[np.ndarray],
    precision: torch.dtype = torch.float32,
    place: int = 0,
) -> Iterator[np.ndarray]:
    """Features of a stream of images, a few batches at a time.

    Batches beside each other use the cores better than the cores do together on one: small layers leave little to
    divide. The next batch is read meanwhile.

    Parameters
    ----------
    model : VisionLanguageModel
        In evaluation mode.
    batches : iterable of ndarray
        uint8 ``(n, H, W, C)``, all of one size; `n` need not be the same.
    precision : dtype
        Of the matrix products; what is between them stays float32.
    place : int
        Of the first image in its pass, below the :func:`batch_size`: where a stream is cut out of a longer one, that
        which the image has in the longer one; its features have the same bytes then.

    Yields
    ------
    ndarray
        float32 ``(<=batch_size, D)``: unit features, in the order of the images.

    Raises
    ------
    InputError
        If the memory of a GPU is too small.
    """
    if model.device.type == "cuda" and (guard := model.preprocess.guard) is not None:  # by all cores, ahead of the GPU
        batches = map_ahead(guard, batches, min(cores(), _MOST_GUARDED))
        model = replace(model, preprocess=replace(model.preprocess, guard=None))
    yield from (features for (features,) in image_features_of_each([model], batches, precision, place))


def image_features_of_each(
    models: Sequence[VisionLanguageModel],
    batches: Iterable[np.ndarray],
    precision: torch.dtype = torch.float32,
    place: int = 0,
) -> Iterator[tuple[np.ndarray, ...]]:
    """What :func:`image_features` makes of a stream of images with each of several models; the stream is read once.

    Parameters
    ----------
    models : sequence of VisionLanguageModel
        All on one device; their input sizes and widths may differ.
    batches, precision, place
        As in :func:`image_features`; the largest batch size of the models counts.

    Yields
    ------
    tuple of ndarray
        For each model, float32 ``(<=batch_size, D)``: the same bytes as of the model by itself.

    Raises
    ------
    InputError
        As :func:`image_features`.
    """
    device, sizes = models[0].device, list(map(images_at_a_time, models))
    full = _full_batches(batches, place, max(map(batch_size, models)))
    if device.type == "cpu":
        models = list(map(with_folded_batch_norm, models))

    @torch.inference_mode()
    def encoded(part: tuple[np.ndarray, slice]) -> Callable[[], tuple[np.ndarray, ...]]:
        images, rows = part
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            return to_host([_features(*each, images)[rows] for each in zip(models, sizes, strict=True)])

    streams = _streams(device)
    with cores_divided(streams if device.type == "cpu" else 1), memory_explained(_ADVICE):
        for arrived in map_ahead(encoded, full, streams, partial(use_own_stream, device)):
            yield arrived()


def _features(model: VisionLanguageModel, size: int, images: np.ndarray) -> torch.Tensor:
    """Features of images, on the model's device, in passes of a size."""
    passes = (images[start : start + size] for start in range(0, len(images), size))
    return torch.cat([model.encode_image(model.preprocess(part, model.device)) for part in passes])


def images_per_second(model: VisionLanguageModel, precision: torch.dtype = torch.float32) -> float:
    """Images that :func:`image_features` encodes per second, measured in a second or in one round of batches."""
    batch = np.random.default_rng(0).integers(0, 256, (batch_size(model), *model.preprocess.size, 3), np.uint8)
    for rounds in (1, 4):
        started, count = time.monotonic(), rounds * _streams(model.device)
        images = sum(map(len, image_features(model, itertools.repeat(batch, count), precision)))
        if (seconds := time.monotonic() - started) > 1:
            break
    return images / seconds


def _streams(device: torch.device) -> int:
    """How many batches to have at a time; they share out the cores of a CPU, and overlap on a GPU."""
    return min(torch.get_num_threads(), _MOST_STREAMS) if device.type == "cpu" else 2


@contextmanager
def cores_divided(parts: int) -> Iterator[None]:
    """Let torch use its share of the cores, of so many parts, inside."""
    cores = torch.get_num_threads()
    torch.set_num_threads(max(1, cores // parts))
    try:
        yield
    finally:
        torch.set_num_threads(cores)


def class_logits(
    features: Iterable[np.ndarray], classifier: torch.Tensor, logit_scale: float, place: int = 0
) -> Iterator[np.ndarray]:
    """Logits of a stream of features.

    Parameters
    ----------
    features : iterable of ndarray
        float32 ``(n, D)``: unit features.
    classifier : Tensor
        Unit class vectors, float32 ``(classes, D)``.
    logit_scale : float
        Factor of the cosine similarity.
    place : int
        Of the first row in its product, below :data:`BATCH_SIZE`; otherwise as in :func:`image_features`.

    Yields
    ------
    ndarray
        float32 ``(<=BATCH_SIZE, classes)``.
    """
    classes = torch.from_numpy(to_host([classifier])()[0]).T
    yield from in_full_batches(features, lambda batch: (logit_scale * torch.from_numpy(batch) @ classes).numpy(), place)


def image_logits(
    model: VisionLanguageModel, classifier: torch.Tensor, batches: Iterable[np.ndarray]
) -> Iterator[np.ndarray]:
    """Logits of a stream of images, in float32: :func:`class_logits` of :func:`image_features`."""
    return class_logits(image_features(model, batches), classifier, model.logit_scale)


def in_full_batches(
    parts: Iterable[np.ndarray], function: Callable[[np.ndarray], np.ndarray], place: int = 0
) -> Iterator[np.ndarray]:
    """What `function` makes of the rows of all parts, :data:`BATCH_SIZE` at a time, zeros before and after them."""
    for batch, rows in _full_batches(parts, place, BATCH_SIZE):
        yield function(batch)[rows]


def _full_batches(parts: Iterable[np.ndarray], place: int, size: int) -> Iterator[tuple[np.ndarray, slice]]:
    """Arrays of `size` rows, and which of them are those of the parts; the first is at `place`."""
    for batch in rebatched(_after_zeros(parts, place), size):
        filled = np.zeros((size, *batch.shape[1:]), batch.dtype)
        filled[: len(batch)] = batch
        yield filled, slice(place, len(batch))
        place = 0


def _after_zeros(parts: Iterable[np.ndarray], count: int) -> Iterator[np.ndarray]:
    """The parts, after `count` rows of zeros."""
    for part in parts:
        if count:
            yield np.zeros((count, *part.shape[1:]), part.dtype)
            count = 0
        yield part
