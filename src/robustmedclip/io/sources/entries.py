"""Entries of a folder: files, those that can't be read, and those that are skipped, each with the reason."""

import os
import stat
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any

from fsspec import AbstractFileSystem

from robustmedclip.errors import first_ten
from robustmedclip.io.versioned import SourceError

_KINDS = {
    stat.S_IFIFO: "a named pipe (FIFO)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}
_SYSTEM_FILES = {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "icon\r"}
_NO_IMAGES = {
    *(
        ".txt",
        ".csv",
        ".tsv",
        ".json",
        ".jsonl",
        ".xml",
        ".yaml",
        ".yml",
        ".md",
        ".rst",
        ".html",
        ".htm",
        ".pdf",
        ".log",
    ),
    *(".doc", ".docx", ".xls", ".xlsx", ".ods", ".rtf", ".py", ".ipynb", ".m", ".r", ".sh", ".ini", ".cfg", ".toml"),
    *(".sha256", ".md5", ".bib", ".url", ".lnk", ".db"),
}
_DOCUMENTS = {
    "license",
    "licence",
    "readme",
    "copying",
    "notice",
    "authors",
    "changelog",
    "citation",
    "md5sums",
    "sha256sums",
}


@dataclass
class Entries:
    """Entries of a folder and below; keys are paths inside it.

    Attributes
    ----------
    files : dict
        Regular files, also where links lead to; to ``size``, ``mtime`` and what else the filesystem says; ``identity``
        is the same for two paths to one file.
    refused : dict
        What can't be read, to the reason as the end of a sentence; folders end with ``/``.
    skipped : dict
        What is not read, to the reason as a noun: ``hidden``.
    """

    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def skip(self, path: str, reason: str) -> None:
        """Count a file or what can't be read as skipped."""
        self.files.pop(path, None)
        self.refused.pop(path, None)
        self.skipped[path] = reason


def local_entries(folder: str) -> Entries:
    """Entries of a local folder, following links, but not into a folder that they lie in."""
    entries, pending = Entries(), [("", frozenset({os.path.realpath(folder)}))]
    while pending:
        place, above = pending.pop()
        try:
            with os.scandir(os.path.join(folder, place)) as scan:
                children = sorted(scan, key=lambda child: child.name)
        except OSError as error:
            entries.refused[f"{place}/"] = f"can't be listed ({error.strerror})"
            continue
        if place and not children:
            entries.skipped[place] = "empty folder"
        for child in children:
            path = f"{place}/{child.name}" if place else child.name
            if (folder_above := _add(entries, child, path, above)) is not None:
                pending.append((path, above | {folder_above}))
    return entries


def _add(entries: Entries, child: "os.DirEntry[str]", path: str, above: frozenset[str]) -> str | None:
    """Put a child of a folder where it belongs; the real path of a folder that is still to be listed."""
    try:
        child.name.encode()
        status = child.stat()
    except UnicodeEncodeError:
        entries.refused[ascii(path)] = "has a name that is not UTF-8: rename it"
        return None
    except OSError as error:
        linked = f"is a link to nothing ({os.readlink(child.path)})" if child.is_symlink() else error.strerror
        entries.refused[path] = f"{linked}"
        return None
    if stat.S_ISREG(status.st_mode):
        identity = (status.st_dev, status.st_ino)
        entries.files[path] = {"size": status.st_size, "mtime": status.st_mtime, "identity": identity}
        return None
    if not stat.S_ISDIR(status.st_mode):
        entries.refused[path] = f"is {_KINDS.get(stat.S_IFMT(status.st_mode), 'special')}, not a file"
        return None
    real = os.path.realpath(child.path)
    if real in above:
        entries.skipped[path] = "link back to a folder above"
        return None
    return real


def remote_entries(filesystem: AbstractFileSystem, folder: str) -> Entries:
    """Entries of a folder of any filesystem that fsspec knows."""
    files = filesystem.find(folder, detail=True)
    return Entries({str(PurePosixPath(path).relative_to(folder)): info for path, info in files.items()})


def skip_other_files(entries: Entries) -> None:
    """Skip hidden files, those that operating systems leave behind, and those that hold no image by their suffix."""
    for path in [*entries.files, *entries.refused]:
        if reason := _no_image(path):
            entries.skip(path, reason)


def skip_by_patterns(entries: Entries, include: Sequence[str], exclude: Sequence[str]) -> None:
    """Skip what the settings ``include`` and ``exclude`` leave out."""
    for path in [*entries.files, *entries.refused]:
        if not is_chosen(path, () if path.endswith("/") else include, exclude):
            entries.skip(path, "left out by 'include' or 'exclude'")


def skip_unnamed(entries: Entries, names: Collection[str], reason: str) -> None:
    """Skip the images that are not among `names`."""
    for path in [path for path in entries.files if path not in names and not _no_image(path)]:
        entries.skip(path, reason)


def is_chosen(path: str, include: Sequence[str], exclude: Sequence[str]) -> bool:
    """Whether a path matches one of `include`, if there are any, and none of `exclude`."""
    included = not include or any(matches(path, pattern) for pattern in include)
    return included and not any(matches(path, pattern) for pattern in exclude)


def _no_image(path: str) -> str | None:
    """Why a file is no image, by its name alone."""
    if any(part.startswith(".") or part.lower() in _SYSTEM_FILES for part in path.split("/")):
        return "hidden or a system file"
    suffix = os.path.splitext(path)[1].lower()
    if path.rpartition("/")[2].lower() in _DOCUMENTS:
        return "no image"
    return f"no image ({suffix})" if suffix in _NO_IMAGES else None


def matches(path: str, pattern: str) -> bool:
    """Whether a path inside the folder, or its last part, matches a pattern of the shell (``*``, ``?``, ``[abc]``)."""
    return fnmatchcase(path, pattern) or fnmatchcase(path.rpartition("/")[2], pattern)


def skipped_line(entries: Entries) -> str:
    """The skipped entries in one line: ``3 hidden or a system file (.DS_Store, ...)``; empty if nothing was."""
    reasons: dict[str, list[str]] = {}
    for path, reason in sorted(entries.skipped.items()):
        reasons.setdefault(reason, []).append(path)
    named = (
        f"{len(paths)} {reason} ({', '.join(paths[:3])}{', ...' * (len(paths) > 3)})"
        for reason, paths in reasons.items()
    )
    return first_ten(named)


def require_regular(filesystem: AbstractFileSystem, path: str, local: bool) -> None:
    """Raise ``SourceError`` if a path leads to a pipe, socket, device or folder: opening it would hang or fail."""
    if local:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            raise SourceError(
                f"a file can't be read ({path} is {_KINDS.get(stat.S_IFMT(mode), 'special')}, not a file)"
            )
    elif filesystem.isdir(path):
        raise SourceError(f"a file can't be read ({path} is a folder, not a file)")
