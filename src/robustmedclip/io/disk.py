"""Files on the disks of this machine."""

import errno
import getpass
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from robustmedclip.progress import volume


def machine_folder(name: str) -> Path:
    """A folder outside the project, the same for all processes of this user on this machine."""
    folder = Path(tempfile.gettempdir()) / f"robustmedclip-{_user()}" / name
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _user() -> str:
    """Name of this user; its number where the system knows no name, as of most in a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # until Python 3.13, and since
        return "0" if sys.platform == "win32" else str(os.getuid())


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """A path beside `target` that becomes `target` on success and vanishes on failure."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial-{os.getpid()}")
    remove(partial)
    try:
        yield partial
        os.replace(partial, target)
    except BaseException:
        remove(partial)
        raise


def require_space(folder: Path, needed: int, what: str) -> None:
    """Raise ``OSError`` (``ENOSPC``) unless `needed` bytes for `what` are free under the local `folder`."""
    if (free := shutil.disk_usage(folder).free) < needed:
        raise OSError(errno.ENOSPC, f"{what} needs {volume(needed)} under {folder}, {volume(free)} are free")


def remove(path: Path) -> None:
    """Remove a file or folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
