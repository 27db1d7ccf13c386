"""A model as a catalog entry, in whichever format it is."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fsspec.core import url_to_fs
from kedro.io import AbstractDataset

from robustmedclip.errors import InputError
from robustmedclip.io.remote import RemoteEntry
from robustmedclip.io.versioned import forget_listings
from robustmedclip.models.formats import ModelFormat, model_format
from robustmedclip.models.study_switches import STUDY_SWITCHES

if TYPE_CHECKING:
    from robustmedclip.models.interface import VisionLanguageModel


class _LastModel:
    """The model that was read last: the nodes of a model follow each other, and each would read it again."""

    def __init__(self) -> None:
        self._held: tuple[str, VisionLanguageModel] | None = None

    def load(self, content: str, read: Callable[[], "VisionLanguageModel"]) -> "VisionLanguageModel":
        """The model of a content: the last one, if that is it, or the one that is read."""
        held = self._held
        if held is None or held[0] != content:
            self._held = None  # two would take twice the memory
            self._held = held = (content, read())
        return held[1]


_LAST = _LastModel()


def is_url(source: str) -> bool:
    """Whether a setting of a model names a file or folder by a URL, such as ``s3://bucket/model``."""
    return "://" in source


class Copies:
    """The copies on this machine of files and folders that lie elsewhere, as they were when first asked for."""

    def __init__(self) -> None:
        self._entries: dict[str, RemoteEntry] = {}

    def path(self, url: str) -> str:
        """Path of the copy, which is there if there is anything at the URL.

        Raises
        ------
        InputError
            If it can't be fetched.
        """
        try:
            if url not in self._entries:
                filesystem, path = url_to_fs(url)
                forget_listings(filesystem)
                self._entries[url] = RemoteEntry.listed(filesystem, path)
            return str(self._entries[url].whole())
        except InputError:
            raise
        except Exception as error:  # of whatever library the filesystem uses
            reason = " ".join(str(error).split()) or type(error).__name__
            raise InputError(
                f"{url} can't be fetched ({reason}): check the address, the credentials in the environment, and the "
                "network"
            ) from error

    def instead(self, settings: Any) -> Any:
        """Settings with each URL replaced by the path of its copy; raises as :meth:`path`."""
        if isinstance(settings, Mapping):
            return {name: self.instead(value) for name, value in settings.items()}
        return self.path(settings) if isinstance(settings, str) and is_url(settings) else settings

    def url(self, path: str) -> str:
        """The URL that a path is the copy of, or the path itself."""
        return next((url for url, entry in self._entries.items() if str(entry.path) == path), path)


class ModelDataset(AbstractDataset[None, "VisionLanguageModel"]):
    """Loads a model. What its settings name by a URL that fsspec knows is fetched first, once for a machine.

    Parameters
    ----------
    format : str
        Short name or dotted path of a :class:`~robustmedclip.models.formats.ModelFormat`.
    settings : mapping
        The settings of the format.
    switches : sequence of str
        What the study's code does to the model: see :mod:`robustmedclip.models.study_quirks`.
    origin : mapping, optional
        ``url``, ``size``, ``licence`` and ``citation`` of the weights.
    root : str, optional
        Folder that relative paths count from; by default the working directory.
    metadata : dict, optional
        For plugins such as Kedro-Viz.
    """

    def __init__(
        self,
        *,
        format: str,
        settings: Mapping[str, Any],
        switches: Sequence[str] = (),
        origin: Mapping[str, str] | None = None,
        root: str | None = None,
        metadata: dict[str, Any] | None = None,
    ):
        if unknown := [switch for switch in switches if switch not in STUDY_SWITCHES]:
            raise ValueError(f"unknown switches {', '.join(unknown)}; known are {', '.join(STUDY_SWITCHES)}")
        self._source, self._root = {**settings, "type": format}, root or ""
        self._described, self._copies = model_format(self._source, self._root), Copies()
        self._switches, self._origin, self.metadata = list(switches), dict(origin or {}), metadata

    def load(self) -> "VisionLanguageModel":
        """Load the model; what is done to its network is seen by nobody else who loads it."""
        model = _LAST.load(self._content(), self._read)
        return model.with_network(deepcopy(model.network))

    @property
    def _format(self) -> ModelFormat:
        """The model by paths of this machine."""
        return model_format(self._copies.instead(self._source), self._root)

    def _read(self) -> "VisionLanguageModel":
        model = self._format.load()
        if not self._switches:
            return model
        from robustmedclip.models.study_quirks import apply_study_quirks

        return apply_study_quirks(model, self._switches)

    def _content(self) -> str:
        """What the model is made of: its settings, and path, size and time of each of its files."""
        places = [file for path in map(Path, self.paths()) for file in (path, *sorted(path.rglob("*")))]
        files = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in places if file.is_file()]
        return repr([self._describe(), files])

    def save(self, data: None) -> None:
        """Models are read, not saved."""
        raise NotImplementedError(f"{type(self).__name__} is a source: it can't be saved to")

    def problems(self) -> list[str]:
        """What would make :meth:`load` fail, found without reading the weights."""
        absent = [self._copies.url(path) for path in self.paths() if not Path(path).exists()]
        return [f"there is no {path}{self._where()}" for path in absent] or self._format.problems()

    def missing(self) -> str | None:
        """What to do if none of its files is there."""
        paths = self.paths()
        return self.problems()[0] if paths and not any(Path(path).exists() for path in paths) else None

    def signature(self) -> Any:
        """What the model depends on beside its files: its settings."""
        return self._describe()

    def paths(self) -> list[str]:
        """Its files and folders, or copies of them on this machine."""
        return self._format.paths()

    def _describe(self) -> dict[str, Any]:
        kind = type(self._described)
        return {
            "format": f"{kind.__module__}.{kind.__qualname__}",
            "settings": self._described.settings(),
            "switches": self._switches,
        }

    def _where(self) -> str:
        """Where to get what is missing, as the end of a sentence."""
        facts = "; ".join(self._origin[key] for key in ("size", "licence") if key in self._origin)
        where = f": import it from {self._origin['url']}" if "url" in self._origin else ""
        how = ", see kedro import-model --help" if self._origin else ""
        return f"{where}{f' ({facts})' if facts else ''}{how}"
