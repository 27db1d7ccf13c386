"""Nodes of the corruption stage."""

import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from robustmedclip.corruptions import SMALLEST_SIDE, CorruptedOnTheFly, corrupt
from robustmedclip.errors import InputError
from robustmedclip.images.conditions import CLEAN, Condition
from robustmedclip.images.corrupted import CorruptedSet, ReleasedSet
from robustmedclip.images.near_duplicates import pixel_digests
from robustmedclip.images.pixels import Images, batches
from robustmedclip.images.sets import ImageSet

logger = logging.getLogger(__name__)

#: Images that tell whether a corruption changes any.
_LOOKED_AT = 4


def corrupt_test_set(
    test: ImageSet,
    parameters: dict[str, Any],
    *,
    suite: str,
    dataset: str | None,
    grey: str,
    storage: str,
    conditions: Sequence[Condition],
) -> CorruptedSet:
    """The test set under every condition, as a stream: images are corrupted while the data set is written or read.

    `suite` is a short name or a dotted path; `dataset` is the data set whose list of corruptions is used, if the suite
    has one for each of some.

    Raises
    ------
    InputError
        If the images are too small to be corrupted.
    """
    if min(test.images.shape[1:3]) < SMALLEST_SIDE:
        raise InputError(
            f"Data set '{test.name}': its images have {' x '.join(map(str, test.images.shape[1:3]))} px, and "
            f"corruptions need {SMALLEST_SIDE} px on each side: take larger images"
        )
    settings = {"suite": suite, "dataset": dataset or test.name, "grey": grey, "seed": parameters["seed"]}
    if unchanged := _without_effect(test, conditions, settings):
        logger.warning(
            "Data set '%s', images of %s px with %d channel(s): %s change nothing, and count as the clean images. "
            "Blurs get shorter than a pixel as images get small, and what changes colours leaves grey images as they "
            "are: leave these corruptions out of data_sets.%s.corruptions.names, or take larger images",
            test.name,
            " x ".join(map(str, test.images.shape[1:3])),
            test.images.shape[3],
            "; ".join(f"{name} {', '.join(map(str, severities))}" for name, severities in unchanged.items()),
            test.name,
        )
    return CorruptedSet(
        clean=test,
        suite=suite,
        conditions=tuple(conditions),
        storage=storage,
        provenance=settings,
        corrupted=CorruptedOnTheFly(test, **settings),
    )


def _without_effect(
    test: ImageSet, conditions: Sequence[Condition], settings: Mapping[str, Any]
) -> dict[str, list[int]]:
    """Corruptions to their severities that leave some images, spread over the test set, as they are."""
    places = np.unique(np.linspace(0, len(test) - 1, _LOOKED_AT).astype(int))
    images = np.array(test.images[places])
    unchanged: dict[str, list[int]] = defaultdict(list)
    for name, severity in (condition for condition in conditions if condition != CLEAN):
        batch = corrupt(images, name, severity, sample_ids=test.sample_ids[places].tolist(), **settings)
        if np.array_equal(batch, images):
            unchanged[name].append(severity)
    return dict(unchanged)


def adopt_released_set(
    test: ImageSet,
    released: ReleasedSet,
    *,
    suite: str,
    storage: str,
    conditions: Sequence[Condition],
    label_map: Mapping[int, str] | None,
) -> CorruptedSet:
    """The released test set under every condition, its classes numbered as those of `test`.

    The clean images are the release's own where it has them; else they are `test`, image by image.

    Parameters
    ----------
    test : ImageSet
        The test split from the source: names, order and sizes of the classes.
    released : ReleasedSet
        The files.
    suite, storage, conditions
        As in :func:`corrupt_test_set`.
    label_map : mapping, optional
        Label in the files to class name; by default the files number the classes as `test` does.

    Raises
    ------
    InputError
        If the files number the classes in another way, or hold other images than `test`.
    """
    place = f"data_sets.{test.name}.corruptions"
    labels = {condition: _renumbered(numbers, test, label_map, place) for condition, numbers in released.labels.items()}
    clean = _released_clean_set(test, released, labels[CLEAN], place) if CLEAN in labels else test
    for condition in conditions[1:]:
        _check_images_and_labels(clean, released, condition, labels[condition], place)
    return CorruptedSet(
        clean=clean,
        suite=suite,
        conditions=tuple(conditions),
        storage=storage,
        provenance={"released": released.folder},
        corrupted=released,
    )


def _released_clean_set(test: ImageSet, released: ReleasedSet, labels: np.ndarray, place: str) -> ImageSet:
    """The clean images of a release and their labels, if their classes are numbered as those of `test`."""
    images, numbers = released.images(CLEAN), released.labels[CLEAN]
    ours, theirs = _same_images(test, images)
    if wrong := int((labels[theirs] != test.labels[ours]).sum()):
        fitting = _fitting_map(numbers[theirs], test.labels[ours], test)
        raise InputError(
            f"{released.folder}: {wrong} of the {len(ours)} clean images that are also in the test split have another "
            f"class there: {_remedy(fitting, numbers, place)}"
        )
    counts = np.bincount(labels, minlength=len(test.class_names))
    if not np.array_equal(counts, test.class_counts()):
        raise InputError(_other_counts(test, released, counts, place))
    unseen = np.setdiff1d(np.flatnonzero(counts), test.labels[ours])
    if len(set(counts[unseen].tolist())) < len(unseen):
        logger.warning(
            "%s: none of the clean images of some classes is in the test split of '%s', and those classes have as many "
            "images each: whether the files number them as %s can't be checked",
            released.folder,
            test.name,
            dict(enumerate(test.class_names)),
        )
    ids = np.array([f"released/{index:06d}" for index in range(len(images))])
    return replace(test, images=images, labels=labels, sample_ids=ids)


def _check_images_and_labels(
    clean: ImageSet, released: ReleasedSet, condition: Condition, labels: np.ndarray, place: str
) -> None:
    if released.shapes[condition] != clean.images.shape:
        raise InputError(
            f"{released.folder}: {condition} holds images {released.shapes[condition]}, the clean test set of "
            f"'{clean.name}' {clean.images.shape} (images, height, width, channels): choose a source of that size"
        )
    if wrong := int((labels != clean.labels).sum()):
        numbers = released.labels[condition]
        raise InputError(
            f"{released.folder}: {wrong} of {len(clean)} labels of {condition} differ from those of the clean "
            f"images: {_remedy(_fitting_map(numbers, clean.labels, clean), numbers, place)}"
        )


def _renumbered(labels: np.ndarray, test: ImageSet, label_map: Mapping[int, str] | None, place: str) -> np.ndarray:
    names = dict(enumerate(test.class_names)) if label_map is None else dict(label_map)
    if unknown := sorted(set(names.values()) - set(test.class_names)):
        raise InputError(f"{place}.label_map: {unknown} are no classes of '{test.name}': {list(test.class_names)}")
    if unnamed := sorted(set(labels.tolist()) - set(names)):
        raise InputError(f"{place}.label_map: the released files have labels {unnamed} that it does not name")
    table = np.full(max(names) + 1, -1)
    for label, name in names.items():
        table[label] = test.class_names.index(name)
    return np.asarray(table[labels])


def _same_images(test: ImageSet, images: Images) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the test split and of released images, maybe in three channels, of the same pixels, each once."""
    ours, theirs = (_unique_rows(those, test.images.shape[-1]) for those in (test.images, images))
    shared = [(row, theirs[digest]) for digest, row in ours.items() if digest in theirs]
    rows = np.array(shared, np.int64).reshape(-1, 2)
    return rows[:, 0], rows[:, 1]


def _unique_rows(images: Images, channels: int) -> dict[str, int]:
    """Digest to row of the images that are there once."""
    digests = [digest for batch in batches(images, 64) for digest in pixel_digests(batch[..., :channels])]
    counts = Counter(digests)
    return {digest: row for row, digest in enumerate(digests) if counts[digest] == 1}


def _fitting_map(numbers: np.ndarray, labels: np.ndarray, test: ImageSet) -> dict[int, str]:
    """Label in the files to class name, if that makes `numbers` the `labels`; else empty."""
    pairs = sorted(set(zip(numbers.tolist(), labels.tolist(), strict=True)))
    is_bijection = len(pairs) == len({there for there, _ in pairs}) == len({here for _, here in pairs})
    return {there: test.class_names[here] for there, here in pairs} if is_bijection else {}


def _remedy(fitting: Mapping[int, str], numbers: np.ndarray, place: str) -> str:
    if set(numbers.tolist()) <= set(fitting):
        return f"the files number the classes in another order. They fit with {place}.label_map: {dict(fitting)}"
    return "the files are of other images, or of another release of them: choose the data that they were made of"


def _other_counts(test: ImageSet, released: ReleasedSet, counts: np.ndarray, place: str) -> str:
    expected = test.class_counts()
    if counts.sum() != len(test):
        return (
            f"{released.folder}: the released clean set has {counts.sum()} images, the test split of '{test.name}' "
            f"{len(test)}: choose the data that it was made of"
        )
    pairs = ", ".join(
        f"{name!r} {there} and {here}" for name, there, here in zip(test.class_names, counts, expected, strict=True)
    )
    message = (
        f"{released.folder}: the classes have other sizes in the released clean set and in the test split: {pairs}"
    )
    raw = np.bincount(released.labels[CLEAN], minlength=len(expected))
    if len(raw) == len(expected) == len(set(expected.tolist())) and sorted(raw) == sorted(expected):
        fitting = {label: test.class_names[int(np.argmax(expected == count))] for label, count in enumerate(raw)}
        return f"{message}. They fit with {place}.label_map: {fitting}"
    return f"{message}. State the order of its classes as {place}.label_map, or choose the data that it was made of"
