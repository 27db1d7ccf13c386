"""Downloads of large files."""

import hashlib
import logging
import os
import shutil
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from filelock import FileLock

from robustmedclip.io.disk import require_space
from robustmedclip.progress import track

logger = logging.getLogger(__name__)

_MEGABYTE = 10**6
_SECONDS_OF_SILENCE = 60
_RANGE_NOT_SATISFIABLE = 416


def download(url: str, target: Path, md5: str) -> None:
    """Download a file, unless it is there with the right checksum; it appears whole and verified, or not at all.

    What arrived before a connection broke off, or the process was killed, stays beside it as ``.<name>.partial`` and is
    continued. A second process waits for the first.

    Parameters
    ----------
    url : str
        Address; redirections are followed.
    target : Path
        Where to put it; a file with another checksum is replaced.
    md5 : str
        Checksum of the file, in hexadecimal digits.

    Raises
    ------
    OSError or http.client.HTTPException
        If the server does not deliver it, it is another file than expected, or there is no space or no right to write
        it.
    """
    if target.exists():
        if md5_of(target) == md5:
            return
        logger.warning("%s is not the file that %s should be: downloading it again", target, url)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    with FileLock(f"{partial}.lock"):
        if target.exists() and md5_of(target) == md5:
            return
        while not _continued(url, partial):
            pass
        if (arrived := md5_of(partial)) != md5:
            partial.unlink()
            raise OSError(f"the MD5 of what arrived is {arrived}, not {md5}")
        os.replace(partial, target)


def md5_of(path: Path) -> str:
    """MD5 of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _continued(url: str, partial: Path) -> bool:
    """Append the rest of the file; False if the connection broke off after some of it, an error if nothing arrived."""
    with open(partial, "ab") as file:
        start = file.tell()
        headers = {"User-Agent": "robustmedclip"} | ({"Range": f"bytes={start}-"} if start else {})
        try:
            with urlopen(Request(url, headers=headers), timeout=_SECONDS_OF_SILENCE) as response:
                if response.status != 206:
                    file.truncate(0)
                require_space(partial.parent, response.length or 0, f"the rest of {partial.name}")
                _copy(response, file, url)
        except HTTPError as error:
            if error.code != _RANGE_NOT_SATISFIABLE:
                raise
        except (OSError, HTTPException) as error:
            file.flush()
            if file.tell() <= start:
                raise
            logger.warning("%s broke off after %.1f MB (%s): going on from there", url, file.tell() / _MEGABYTE, error)
            return False
    return True


def _copy(response: HTTPResponse, file: BinaryIO, url: str) -> None:
    if response.length is None:
        logger.info("Downloading %s, whose size the server does not tell", url)
        shutil.copyfileobj(response, file)
        return
    pieces = -(-response.length // _MEGABYTE)
    logger.info("Downloading %s: %d MB", url, pieces)
    for _ in track(range(pieces), f"{url}, MB"):
        file.write(response.read(_MEGABYTE))
    if response.length:
        raise ConnectionError(f"the connection broke off {response.length} bytes before the end")
