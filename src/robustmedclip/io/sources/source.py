"""Sources of images: what may be asked of each, and what those that read files have in common."""

import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any, Protocol, TypeGuard, runtime_checkable

import fsspec
import numpy as np
from kedro.io import AbstractDataset
from kedro.io.core import get_protocol_and_path

from robustmedclip.errors import InputError
from robustmedclip.images.findings import members
from robustmedclip.images.sets import ImageSet
from robustmedclip.io.external import External
from robustmedclip.io.remote import stamp
from robustmedclip.io.sources.entries import Entries, local_entries, remote_entries
from robustmedclip.io.sources.labels import PARTS, absence
from robustmedclip.io.versioned import SourceError


@runtime_checkable
class Source(External, Protocol):
    """An entry of the catalog that images come from: what preflight, fingerprints and data cards may ask of it."""

    @property
    def synthetic(self) -> bool:
        """Whether the images are drawn by a program, not acquired."""

    def load(self) -> dict[str, ImageSet]:
        """``{split: ImageSet}`` for ``train``, ``test`` and, if there is one, ``val``; pixels are read on use.

        Raises
        ------
        SourceError
            Naming each file or setting that is wrong, and what to do.
        """

    def verified(self) -> dict[str, ImageSet]:
        """As :meth:`load`, after every check of the files that needs no pixels, checksums too; fetches nothing."""

    def origin(self) -> dict[str, str]:
        """Where the images come from, as far as it is known: ``url``, ``size``, ``licence``, ``citation``."""

    def test_shape(self) -> tuple[int, int, int, int]:
        """Shape of the test images, ``(N, H, W, C)``, as far as it shows without reading pixels."""


def is_source(entry: object) -> TypeGuard[Source]:
    """Whether an entry of the catalog is a source of images."""
    return isinstance(entry, Source)


def source_problem(entry: object) -> str | None:
    """What an entry lacks to be a source of images, if it is none."""
    lacking = [name for name in dir(Source) if not name.startswith("_") and not hasattr(entry, name)]
    kind = f"{type(entry).__module__}.{type(entry).__qualname__}"
    return f"{kind} is no source of images: it lacks {', '.join(lacking)}" if lacking else None


class SourceDataset(AbstractDataset[None, dict[str, ImageSet]]):
    """A read-only collection of labelled images; loads ``{split: ImageSet}``.

    Pixels stay in the files until they are used.

    Parameters
    ----------
    name, modality : str
        Filled in from the plan.
    filepath : str
        The file or folder: a path, or a URL that fsspec knows.
    class_names : list of str, optional
        Filled in from the plan's ``classes``; the order is the order of the label ids.
    origin : mapping, optional
        Filled in from the plan's ``origin``: ``url``, ``size``, ``licence`` and ``citation`` of the files.
    subgroup : list of str, optional
        Filled in from the plan's ``subgroup``: what else is to be known of each image.
    findings : bool
        Filled in from the plan's ``task``: whether the classes are findings, of which an image may have several.
    credentials, fs_args : dict, optional
        Passed to the filesystem.
    metadata : dict, optional
        For plugins such as Kedro-Viz.
    """

    synthetic = False

    def __init__(
        self,
        *,
        name: str,
        modality: str,
        filepath: str,
        class_names: list[str] | None = None,
        origin: Mapping[str, str] | None = None,
        subgroup: Sequence[str] = (),
        findings: bool = False,
        credentials: dict[str, Any] | None = None,
        fs_args: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ):
        self._protocol, path = get_protocol_and_path(filepath)
        self._fs = fsspec.filesystem(self._protocol, **(credentials or {}), **(fs_args or {}))
        if class_names is not None and not _are_names(class_names):
            raise InputError(f"Data set '{name}': class_names must be a list of texts, not {class_names!r}: quote them")
        self._name, self._modality, self._class_names = name, modality, class_names
        self._origin, self._subgroup, self._findings = dict(origin or {}), list(subgroup), findings
        self._path = PurePosixPath(os.path.abspath(path) if self._protocol == "file" else path)
        self.metadata = metadata

    @abstractmethod
    def _splits(self) -> dict[str, ImageSet]:
        """The splits; raises ``InputError`` naming what is wrong and where."""

    def load(self) -> dict[str, ImageSet]:
        """The splits, without their pixels.

        Raises
        ------
        SourceError
            Naming each file that is wrong, and what to do.
        """
        try:
            if absent := self.missing():
                raise SourceError(absent)
            return self._splits()
        except (InputError, OSError) as error:
            raise SourceError(f"Data set '{self._name}': {_reason(error)}") from error

    def verified(self) -> dict[str, ImageSet]:
        """The splits of files that are there, after what can be verified without reading pixels; fetches nothing.

        Raises as :meth:`load`.
        """
        return self._splits()

    def origin(self) -> dict[str, str]:
        """Where the files come from, as far as it is known: ``url``, ``size``, ``licence``, ``citation``."""
        return self._origin

    def missing(self) -> str | None:
        """Where to get the file or folder, if it is not there."""
        if self._fs.exists(str(self._path)):
            return None
        origin = self.origin()
        facts = "; ".join(origin[key] for key in ("size", "licence") if key in origin)
        where = f": get it from {origin['url']}" if "url" in origin else ""
        return f"there is no {self._path}{where}{f' ({facts})' if facts else ''}"

    def problems(self) -> list[str]:
        """What would make :meth:`load` fail."""
        if absent := self.missing():
            return [absent]
        try:
            self._splits()
        except (InputError, OSError) as error:
            return [_reason(error)]
        return []

    def test_shape(self) -> tuple[int, int, int, int]:
        """Shape of the test images, ``(N, H, W, C)``."""
        count, height, width, channels = self._splits()["test"].images.shape
        return count, height, width, channels

    def signature(self) -> Any:
        """What the images depend on beside local files: settings; name, size and stamp of each remote file.

        Not subgroups: they are read by a node of their own, whose setting they are.
        """
        if self._protocol == "file":
            return self._describe()
        path = str(self._path)
        files = {"": self._fs.info(path)} if self._fs.isfile(path) else self._entries().files
        listing = [[str(self._path / name), info["size"], stamp(info)] for name, info in sorted(files.items())]
        return [self._describe(), listing]

    def paths(self) -> list[str]:
        """The file or folder, if it is local."""
        return [str(self._path)] if self._protocol == "file" else []

    def save(self, data: None) -> None:
        """Sources are read, not saved."""
        raise NotImplementedError(f"{type(self).__name__} is a source: it can't be saved to")

    def _describe(self) -> dict[str, Any]:
        return {
            "name": self._name,
            "modality": self._modality,
            "filepath": str(self._path),
            "class_names": self._class_names,
            **({"findings": True} if self._findings else {}),
        }

    def _entries(self, folder: str = "") -> Entries:
        """Files and folders under the source, or under a folder of it."""
        path = str(self._path / folder)
        return local_entries(path) if self._protocol == "file" else remote_entries(self._fs, path)

    def _labelled_splits(
        self,
        class_names: Sequence[str],
        parts: Mapping[str, tuple[Any, np.ndarray, Sequence[str]]],
        where: str,
        columns: Mapping[str, Mapping[str, np.ndarray]] = MappingProxyType({}),
    ) -> dict[str, ImageSet]:
        """Image sets of ``{split: (images, labels, sample ids)}``; `where` names the labels in messages.

        `columns` are those of :class:`~robustmedclip.images.sets.ImageSet`, by split.
        """
        for part, names in PARTS.items():
            of_splits = [members(parts[name][1], class_names) for name in names if name in parts]
            present = {name for of in of_splits for name, images in of.items() if images.any()}
            if problem := absence(part, present, list(of_splits[0]) if of_splits else class_names):
                raise SourceError(f"{where} {problem}")
            shapes = {name: parts[name][0].shape[1:] for name in names if name in parts}
            if len(set(shapes.values())) > 1:
                raise SourceError(f"{where}: the images of the {part} differ in size or channels: {shapes}")
        return {
            split: ImageSet(
                name=self._name,
                split=split,
                modality=self._modality,
                class_names=tuple(class_names),
                images=images,
                labels=labels,
                sample_ids=np.array(sample_ids, dtype=np.str_),
                origin=self.origin(),
                synthetic=self.synthetic,
                columns=columns.get(split, {}),
            )
            for split, (images, labels, sample_ids) in parts.items()
        }


def _are_names(class_names: object) -> bool:
    return isinstance(class_names, list | tuple) and all(isinstance(name, str) for name in class_names)


def _reason(error: InputError | OSError) -> str:
    return error.message if isinstance(error, InputError) else f"a file can't be read ({error})"
