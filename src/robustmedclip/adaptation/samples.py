"""Labelled images of several data sets as one pool of model input."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import torch

from robustmedclip.adaptation.guard import Guard, fit_guard
from robustmedclip.devices import to_device
from robustmedclip.images.findings import UNKNOWN, strata
from robustmedclip.images.pixels import batches
from robustmedclip.images.sets import ImageSet
from robustmedclip.models.batch_size import BATCH_SIZE
from robustmedclip.models.preprocessing import Preprocessing


class Samples:
    """Images of several data sets with labels in their joint label space.

    Class, or finding, ``c`` of the k-th data set has the joint label ``offset_k + c``, in the order of the data sets.
    An image that may have several findings has the first joint label of its data set, and `targets`.

    Parameters
    ----------
    image_sets : sequence of ImageSet
        One per data set; images may be memory maps, and are read batch by batch.
    preprocess : Preprocessing
        Of the model.
    guards : mapping
        Name of a data set to its guard, which every image passes last.
    """

    def __init__(
        self,
        image_sets: Sequence[ImageSet],
        preprocess: Preprocessing,
        guards: Mapping[str, Guard] = MappingProxyType({}),
    ):
        self._sets, self._size = image_sets, preprocess.size
        self._preprocess = [replace(preprocess, guard=guards.get(image_set.name)) for image_set in image_sets]
        sizes = [len(image_set) for image_set in image_sets]
        offsets = np.cumsum([0, *(len(image_set.class_names) for image_set in image_sets)])
        self.data_set = np.repeat(np.arange(len(sizes)), sizes)
        self._row = np.concatenate([np.arange(size) for size in sizes])
        first = [np.zeros(len(s), np.int64) if s.has_findings else s.labels for s in image_sets]
        self.labels = np.concatenate([labels + offset for labels, offset in zip(first, offsets)])
        #: What an image is drawn as, within its data set: its label, or that of the rarest finding that it has.
        self.strata = np.concatenate([strata(s.labels) if s.has_findings else s.labels for s in image_sets])
        #: Places of the data sets of findings.
        self.findings = [place for place, images in enumerate(image_sets) if images.has_findings]
        #: First and last joint label (exclusive) of each data set.
        self.label_ranges = list(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True))
        #: 1 for a finding that an image has, 0 for one that it lacks, else -1: int64 ``(N, joint labels)``; None where
        #: no data set has findings.
        self.targets = self._targets() if self.findings else None

    def _targets(self) -> np.ndarray:
        targets = np.full((len(self), self.label_ranges[-1][1]), UNKNOWN)
        for place in self.findings:
            targets[self.data_set == place, slice(*self.label_ranges[place])] = self._sets[place].labels
        return targets

    def __len__(self) -> int:
        return len(self.labels)

    def key(self, index: int) -> str:
        """``<data set>/<sample id>`` of an image."""
        image_set = self._sets[self.data_set[index]]
        return f"{image_set.name}/{image_set.sample_ids[self._row[index]]}"

    def absent_classes(self) -> list[str]:
        """``<data set>: <class name>`` of every class without an image."""
        return [f"{image_set.name}: {name}" for image_set in self._sets for name in image_set.absent_classes()]

    def content_hash(self) -> str:
        """Hash of the images, in order, with labels, class names and sample ids."""
        return "-".join(image_set.content_hash() for image_set in self._sets)

    def guarded(self, coverage: float) -> tuple["Samples", dict[str, Guard]]:
        """The same images with guards that are fitted to them, and the guards: see :func:`fit_guard`."""
        guards = {images.name: fit_guard(batches(images.images, BATCH_SIZE), coverage) for images in self._sets}
        return self.with_guards(guards), guards

    def with_guards(self, guards: Mapping[str, Guard]) -> "Samples":
        """The same images, each brought into the range of its data set's guard."""
        return Samples(self._sets, self._preprocess[0], guards)

    def members(self) -> list[np.ndarray]:
        """Indices of the images of each data set."""
        return [np.flatnonzero(self.data_set == position) for position in range(len(self._sets))]

    def pixels(
        self,
        indices: np.ndarray,
        augment: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
        device: torch.device | str = "cpu",
    ) -> torch.Tensor:
        """Model input, float32 ``(len(indices), 3, H, W)``, in the order of `indices`.

        `augment` turns images of one data set, uint8 ``(n, H, W, C)``, and their places in `indices` into others.
        """

        def part(position: int, places: np.ndarray) -> torch.Tensor:
            images = self._sets[position].images[self._row[indices[places]]]
            return self._preprocess[position](augment(images, places) if augment else images, device)

        parts = list(self._by_data_set(indices))
        if len(parts) == 1:  # without a copy, whose pages cost as much as to fill them
            return part(*parts[0])
        batch = torch.empty((len(indices), 3, *self._size), device=device, memory_format=torch.channels_last)
        for position, places in parts:
            batch[to_device(places, device)] = part(position, places)
        return batch

    def by_size(self, indices: np.ndarray) -> Iterator[tuple[tuple[int, int], np.ndarray]]:
        """Height and width of the images of each data set among `indices`, and their places there, int64 ``(n,)``."""
        for position, places in self._by_data_set(indices):
            height, width = self._sets[position].images.shape[1:3]
            yield (height, width), places

    def _by_data_set(self, indices: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        for position in range(len(self._sets)):
            if len(places := np.flatnonzero(self.data_set[indices] == position)):
                yield position, places
