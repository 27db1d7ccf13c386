"""What is in the files of sources and models: changed files are told from damaged ones, and named."""

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from robustmedclip.errors import first_ten
from robustmedclip.io.disk import machine_folder, staged
from robustmedclip.io.sources.entries import local_entries
from robustmedclip.io.versioned import SourceError
from robustmedclip.plan.names import spoken
from robustmedclip.progress import track, volume

logger = logging.getLogger(__name__)

_RECORDS = "data/.checksums"
#: Reading more bytes than this for their checksums is said in the log.
_LARGE = 10**9
#: What operating systems leave in folders that somebody looks into.
_SYSTEM_FILES = {".ds_store", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"}


@dataclass(frozen=True)
class Content:
    """A file as it was when it was taken: its checksum, the date, and by what it is seen that it is untouched."""

    blake2b: str
    taken: str
    size: int
    modified_ns: int
    changed_ns: int
    inode: int

    def is_untouched(self, status: os.stat_result) -> bool:
        """Whether nothing has written to the file since; a program that puts its time back is seen."""
        stamp = (self.size, self.modified_ns, self.changed_ns, self.inode)
        return stamp == (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)

    def has_size_and_time(self, status: os.stat_result) -> bool:
        """Whether the file looks the same to its user."""
        return (self.size, self.modified_ns) == (status.st_size, status.st_mtime_ns)


class Contents:
    """Checksums of the files that sources and models are in, recorded when each file is first taken.

    A file is read again when its size, one of its times or its inode differ from the record, and when it is loaded.
    Another content under another time or size is a change, and the log says so; another content under the same time
    and size is damage, and refused. Equal content counts as equal, whatever its times.

    Parameters
    ----------
    project : Path
        The project's folder; the records are JSON files in its ``data/.checksums``, one per entry and place.
    """

    def __init__(self, project: Path):
        self._project = project
        self._read: dict[str, Content] = {}

    def checksums(self, entry: str, paths: Sequence[str]) -> list[list[tuple[str, str]]]:
        """For each of `paths` the files in it, by their paths inside, and their checksums; they are recorded.

        Parameters
        ----------
        entry : str
            The entry of the catalog, for messages and for the name of the record.
        paths : sequence of str
            Local files and folders.

        Raises
        ------
        SourceError
            If files have another content under the same size and time: they are probably damaged.
        """
        record, listing = self._record(entry, paths), [_files(path) for path in paths]
        files = {str(file): os.stat(file) for place in listing for file in place.values()}
        known = {file: record[key] for file in files if (key := self._key(file)) in record}
        new = [file for file, status in files.items() if file not in known or not known[file].is_untouched(status)]
        if (size := sum(files[file].st_size for file in new)) > _LARGE:
            logger.info("Reading %s of '%s' once, for their checksums", volume(size), spoken(entry))
        present = dict(known)
        for file in track(new, f"Checksums of '{spoken(entry)}', files"):
            present[file] = self._read[file] = _content(file, files[file], known.get(file))
        changed = [file for file, content in known.items() if present[file].blake2b != content.blake2b]
        if damaged := [file for file in changed if known[file].has_size_and_time(files[file])]:
            raise SourceError(_damage(entry, {file: known[file] for file in damaged}))
        contents = {self._key(file): content for file, content in present.items()}
        if contents != record:
            _log_changes(entry, record, contents)
            self._write_record(entry, paths, contents)
        return [[(name, present[str(file)].blake2b) for name, file in place.items()] for place in listing]

    def verify(self, entry: str, paths: Sequence[str]) -> None:
        """Compare the files of an entry, as they are read now, with what was recorded of them when the run began.

        Raises
        ------
        SourceError
            If a file is damaged, or was changed meanwhile.
        """
        if problem := self.damage(entry, paths):
            raise SourceError(problem)
        if changed := list(self._differing(entry, paths)):
            raise SourceError(f"'{spoken(entry)}' was changed during the run ({first_ten(changed)}): run again")

    def damage(self, entry: str, paths: Sequence[str]) -> str | None:
        """Which files have another content than was recorded, under the same size and time, and what to do."""
        differing = self._differing(entry, paths)
        damaged = {file: known for file, known in differing.items() if known.has_size_and_time(os.stat(file))}
        return _damage(entry, damaged) if damaged else None

    def _differing(self, entry: str, paths: Sequence[str]) -> dict[str, Content]:
        """Files that have another content than was recorded, and the record; each is read once in a process."""
        record, differing = self._record(entry, paths), {}
        files = [str(file) for path in paths for file in _files(path).values() if self._key(str(file)) in record]
        for file in track(files, f"Checksums of '{spoken(entry)}', files"):
            status, known = os.stat(file), record[self._key(file)]
            if (content := self._read.get(file)) is None or not content.is_untouched(status):
                content = self._read[file] = _content(file, status, known)
            if content.blake2b != known.blake2b:
                differing[file] = known
        return differing

    def _key(self, file: str) -> str:
        """A file by its path in the project, or in the copies of a machine, the same on all."""
        return file.removeprefix(f"{self._project}/").removeprefix(f"{machine_folder('copies')}/")

    def _record_file(self, entry: str, paths: Sequence[str]) -> Path:
        """An entry of another place, of another environment for instance, has a record of its own."""
        places = json.dumps([self._key(path) for path in paths])
        return self._project / _RECORDS / f"{entry}-{hashlib.blake2b(places.encode(), digest_size=4).hexdigest()}.json"

    def _record(self, entry: str, paths: Sequence[str]) -> dict[str, Content]:
        try:
            record = json.loads(self._record_file(entry, paths).read_bytes())
            return {file: Content(**content) for file, content in record.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def _write_record(self, entry: str, paths: Sequence[str], contents: Mapping[str, Content]) -> None:
        file = self._record_file(entry, paths)
        try:
            with staged(file) as path:
                path.write_text(json.dumps({name: asdict(content) for name, content in contents.items()}, indent=0))
        except OSError as error:
            logger.warning("The checksums of '%s' can't be kept in %s (%s)", spoken(entry), file, error)


def _files(path: str) -> dict[str, Path]:
    """Readable files in a folder by their paths inside, or the file that the path leads to, if there is one."""
    inside = sorted(local_entries(path).files) if os.path.isdir(path) else [""] if os.path.isfile(path) else []
    files = {name: Path(path, name) for name in inside if name.rpartition("/")[2].lower() not in _SYSTEM_FILES}
    return {name: file for name, file in files.items() if os.access(file, os.R_OK)}


def _content(file: str, status: os.stat_result, known: Content | None) -> Content:
    """A file as it is now; an unchanged one was taken when it is known to have been."""
    try:
        with open(file, "rb") as opened:
            checksum = hashlib.file_digest(opened, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError as error:
        raise SourceError(f"a file can't be read ({error})") from error
    taken = known.taken if known and known.blake2b == checksum else date.today().isoformat()
    return Content(checksum, taken, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def _damage(entry: str, damaged: Mapping[str, Content]) -> str:
    files = first_ten(f"{file} (taken on {content.taken})" for file, content in damaged.items())
    said = (
        f"'{spoken(entry)}' is probably damaged: {files} {'have' if len(damaged) > 1 else 'has'} another content than "
        "was first taken. Check the disk, and "
    )
    if all(file.startswith(f"{machine_folder('copies')}/") for file in damaged):
        return f"{said}delete it: it is a copy, and is fetched anew"
    return (
        f"{said}put the original back; or, if the change is wanted, set a new time with 'touch', and run again: what "
        "was made of the former content then counts as stale"
    )


def _log_changes(entry: str, before: Mapping[str, Content], now: Mapping[str, Content]) -> None:
    """Warn of files that changed, came or went since the entry was first taken."""
    files = {
        "changed": [name for name in now if name in before and now[name].blake2b != before[name].blake2b],
        "new": [name for name in now if name not in before],
        "gone": [name for name in before if name not in now],
    }
    named = [f"{what}: {first_ten(names)}" for what, names in files.items() if names]
    if before and named:
        first = min(content.taken for content in before.values())
        logger.warning(
            "'%s' is not as it was first taken (%s): what was made of it is stale. %s",
            spoken(entry),
            first,
            "; ".join(named),
        )
