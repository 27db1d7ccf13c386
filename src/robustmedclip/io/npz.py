"""NumPy archives, written as a stream and read through a memory map, without pickles."""

import os
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from robustmedclip.errors import InputError
from robustmedclip.types import batches


@dataclass(frozen=True)
class Stream:
    """An array that is produced chunk by chunk along its first axis.

    Attributes
    ----------
    shape : tuple of int
        Shape of the whole array.
    dtype : dtype
        Type of every chunk.
    chunks : iterable of ndarray
        Their lengths add up to ``shape[0]``.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    chunks: Iterable[np.ndarray]


def write_npz(path: Path, **members: np.ndarray | Stream) -> None:
    """Write an uncompressed ``.npz`` whose bytes depend on its content alone.

    Parameters
    ----------
    path : Path
        The file.
    **members : ndarray or Stream
        Streams are never held in memory as a whole.

    Raises
    ------
    ValueError
        If a stream does not deliver what it announced, or a member holds Python objects.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, member in members.items():
            stream = member if isinstance(member, Stream) else Stream(member.shape, member.dtype, [member])
            if stream.dtype.hasobject:
                raise ValueError(f"{path}: '{name}' holds Python objects, which would need a pickle")
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as file:
                descr = npy.dtype_to_descr(np.dtype(stream.dtype))
                header = {"descr": descr, "fortran_order": False, "shape": stream.shape}
                npy.write_array_header_2_0(file, header)
                written = 0
                for chunk in stream.chunks:
                    if chunk.dtype != stream.dtype or chunk.shape[1:] != stream.shape[1:]:
                        raise ValueError(f"{path}: a chunk of '{name}' is {chunk.dtype} {chunk.shape}")
                    file.write(np.ascontiguousarray(chunk).tobytes())
                    written += chunk.shape[0] if chunk.ndim else 1
                if stream.shape and written != stream.shape[0]:
                    raise ValueError(f"{path}: '{name}' got {written} of {stream.shape[0]} rows")


def read_npz(path: Path, mapped: Collection[str] = ("images",)) -> dict[str, np.ndarray]:
    """Read a ``.npz``, mapping big uncompressed members instead of loading them.

    Parameters
    ----------
    path : Path
        The file.
    mapped : collection of str
        Members to map read-only from disk where they are stored uncompressed.

    Returns
    -------
    dict
        Member name to array.

    Raises
    ------
    InputError
        Naming the file, if it is damaged or would need a pickle.
    """
    with _naming(path):
        with zipfile.ZipFile(path) as archive:
            maps = {}
            for info in archive.infolist():
                name = info.filename.removesuffix(".npy")
                if name in mapped and info.compress_type == zipfile.ZIP_STORED:
                    maps[name] = _map_member(path, info)
        with np.load(path, allow_pickle=False) as members:
            return {name: maps[name] if name in maps else members[name] for name in members.files}


def read_headers(path: Path) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Shape and dtype of every member of a ``.npz``, without reading the arrays.

    Raises
    ------
    InputError
        Naming the file, if it is damaged or would need a pickle.
    """
    with _naming(path), zipfile.ZipFile(path) as archive:
        headers = {}
        for info in archive.infolist():
            with archive.open(info) as file:
                shape, _, dtype = _read_header(file, info)
            headers[info.filename.removesuffix(".npy")] = (shape, dtype)
        return headers


def read_member(path: Path, name: str) -> np.ndarray:
    """One member of a ``.npz``, whole; raises as :func:`read_npz`."""
    with _naming(path), np.load(path, allow_pickle=False) as members:
        return members[name]


def read_rows(path: Path, name: str, start: int, stop: int, size: int) -> Iterator[np.ndarray]:
    """Rows `start` to `stop` of one member, at most `size` at a time, whether it is compressed or not.

    Raises
    ------
    InputError
        Naming the file, if it is damaged or would need a pickle.
    """
    with _naming(path), zipfile.ZipFile(path) as archive:
        info = archive.getinfo(f"{name}.npy")
        if info.compress_type == zipfile.ZIP_STORED:
            yield from batches(_map_member(path, info)[start:stop], size)
            return
        with archive.open(info) as file:
            shape, fortran, dtype = _read_header(file, info)
            if fortran:
                raise ValueError(f"'{info.filename}' is in Fortran order and compressed")
            row = prod(shape[1:]) * dtype.itemsize
            file.seek(start * row, os.SEEK_CUR)
            for first in range(start, stop, size):
                rows = min(size, stop - first)
                data = file.read(rows * row)
                yield np.frombuffer(data, dtype).reshape(rows, *shape[1:])


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, KeyError) as error:
        raise InputError(f"{path} is damaged or not an .npz file of plain arrays: {error}") from error


def _map_member(path: Path, info: zipfile.ZipInfo) -> np.ndarray:
    with open(path, "rb") as file:
        # The local header's name and extra field may differ in length from the central directory's.
        file.seek(info.header_offset + 26)
        name_length, extra_length = np.frombuffer(file.read(4), "<u2").tolist()
        file.seek(info.header_offset + 30 + name_length + extra_length)
        shape, fortran, dtype = _read_header(file, info)
        offset = file.tell()
    if prod(shape) == 0:
        return np.empty(shape, dtype)
    return np.memmap(path, dtype, "r", offset, shape, order="F" if fortran else "C")


def _read_header(file: IO[bytes], info: zipfile.ZipInfo) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, Fortran order and dtype of a member; `file` is at its start, and then at its data."""
    start = file.tell()
    version = npy.read_magic(file)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read_header(file)
    if dtype.hasobject:
        raise ValueError(f"'{info.filename}' holds Python objects")
    size = prod(shape) * dtype.itemsize
    if file.tell() - start + size != info.file_size:
        raise ValueError(f"'{info.filename}' announces {size} bytes of data and holds {info.file_size}")
    return shape, fortran, dtype
