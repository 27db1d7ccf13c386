"""What a corruption suite says of itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from robustmedclip.corruptions.kernels.kernel import Kernel
from robustmedclip.corruptions.suites.modalities import family_of
from robustmedclip.errors import suggestion
from robustmedclip.images.conditions import CLEAN, Condition

SEVERITIES = (1, 2, 3, 4, 5)

#: Whether an image could come from a scanner.
Band = Literal["realistic", "extreme"]

#: What the severities 1 to 5 mean to a kernel.
Values = tuple[Any, Any, Any, Any, Any]


@dataclass(frozen=True)
class Corruption:
    """One corruption of a suite.

    Attributes
    ----------
    kernel : callable
        Image uint8 ``(H, W, C)``, C in {1, 3}, :class:`~robustmedclip.corruptions.draws.Draws` and a value to an image
        uint8 of as many elements; it does not modify its input, and takes all randomness from the draws.
    values : tuple
        The kernel's value for each of the severities 1 to 5.
    modalities : frozenset of str or None
        Imaging modalities that it makes sense for, each by its name or that of its family
        (:mod:`robustmedclip.corruptions.suites.modalities`); None means any.
    source : str or None
        Where the values are from; None means that the suite's source says so.
    realistic : int or None
        Severities up to this one could come from a scanner, those above it are extreme; None: nobody has judged.
    realistic_source : str or None
        Who says so; None means that the suite's `realistic_ssim` does.
    """

    kernel: Kernel
    values: Values
    modalities: frozenset[str] | None = None
    source: str | None = None
    realistic: int | None = None
    realistic_source: str | None = None

    def __post_init__(self) -> None:
        if len(self.values) != len(SEVERITIES):
            raise ValueError(f"a corruption has {len(SEVERITIES)} severities, not {len(self.values)}: {self.values}")

    @property
    def family(self) -> str:
        """What it is a relative of: the name of the module of its kernel, such as ``blur`` or ``noise``."""
        return self.kernel.__module__.rpartition(".")[2]

    def fits(self, modality: str) -> bool:
        """Whether it makes sense for images of a modality."""
        return self.modalities is None or bool({modality, family_of(modality)} & self.modalities)

    def band(self, severity: int) -> Band | None:
        """``realistic`` or ``extreme``; None where nobody has judged."""
        if self.realistic is None:
            return None
        return "realistic" if severity <= self.realistic else "extreme"


@dataclass(frozen=True)
class FileLayout:
    """How the files of a data set are laid out in its folder; by default as the released MediMeta-C does.

    Attributes
    ----------
    path : str
        The file of a condition, with ``{split}``, ``{condition}`` (``clean`` or ``<corruption>_severity_<1..5>``) and
        ``{corruption}`` filled in. Without ``{condition}``, the severities of a corruption lie in one file, one after
        the other.
    images, labels : str
        Keys in a file: uint8 ``(N, H, W, 3)``, or ``(N, H, W)`` for grey images; and int ``(N,)``.
    label_column : bool
        Whether the labels are a column, int ``(N, 1)``.
    has_clean : bool
        Whether a release holds the clean images, too.
    """

    path: str = "{split}/{condition}.npz"
    images: str = "images"
    labels: str = "labels"
    label_column: bool = False
    has_clean: bool = True

    def file(self, split: str, condition: Condition) -> str:
        """The file that holds a condition, relative to the folder of the data set."""
        return self.path.format(split=split, condition=condition, corruption=condition.corruption)

    def in_file_of(self, condition: Condition, conditions: Sequence[Condition]) -> list[Condition]:
        """Those of the conditions that lie one after the other in the file of `condition`."""
        return [other for other in conditions if self.file("", other) == self.file("", condition)]

    def released(self, conditions: Sequence[Condition]) -> tuple[Condition, ...]:
        """Those of the conditions that a release holds."""
        return tuple(condition for condition in conditions if self.has_clean or condition != CLEAN)


@dataclass(frozen=True)
class Suite:
    """A set of corruptions and their severities.

    Attributes
    ----------
    name : str
        It is part of what keys the random numbers.
    source : str
        Who published the corruptions and their constants.
    lists : mapping
        The corruptions by name, under None; or a list for each of some data sets, under the name of the data set.
    realistic_ssim : float or None
        The lowest mean SSIM of images that a level leaves realistic, where no clinician has judged.
    layout : FileLayout
        How the files of a data set are laid out.
    reference_errors : mapping
        Balanced errors of the suite's reference model: a release of images, such as ``bloodmnist_224``, to ``clean``
        and each corruption to the error, a fraction, averaged over the severities. Empty where nothing is published.
    """

    name: str
    source: str
    lists: Mapping[str | None, Mapping[str, Corruption]]
    realistic_ssim: float | None = None
    layout: FileLayout = FileLayout()
    reference_errors: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def datasets(self) -> tuple[str, ...]:
        """Data sets that have a list of their own; none where one list is for all."""
        return tuple(name for name in self.lists if name is not None)

    def corruptions(self, dataset: str | None = None) -> Mapping[str, Corruption]:
        """The list of a data set; where there is one list for all, that one.

        Raises
        ------
        ValueError
            If there is no such list.
        """
        if None in self.lists:
            return self.lists[None]
        if dataset is None:
            raise ValueError(f"{self.name} has a list per data set: choose dataset among {', '.join(self.datasets)}")
        if dataset not in self.lists:
            raise ValueError(f"{self.name} has no list for data set {dataset!r}; {suggestion(dataset, self.datasets)}")
        return self.lists[dataset]

    def fitting(self, modality: str, dataset: str | None = None) -> tuple[str, ...]:
        """Names of the corruptions that make sense for a modality; raises as :meth:`corruptions`."""
        return tuple(name for name, corruption in self.corruptions(dataset).items() if corruption.fits(modality))

    @property
    def has_bands(self) -> bool:
        """Whether it says which levels are realistic."""
        return any(c.realistic is not None for corruptions in self.lists.values() for c in corruptions.values())

    def corruption(self, name: str, dataset: str | None = None) -> Corruption:
        """One corruption of the list of a data set.

        Raises
        ------
        ValueError
            If there is no such list or corruption.
        """
        known = self.corruptions(dataset)
        if name not in known:
            raise ValueError(f"unknown corruption {name!r} of suite {self.name!r}; {suggestion(name, known)}")
        return known[name]
