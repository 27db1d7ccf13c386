"""NumPy archives, written as a stream and read through a memory map, without pickles."""

import io
import math
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from robustmedclip.errors import InputError


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
    with open(path, "rb") as file:
        archive = NpzArchive(file, str(path))
        return {name: archive.map(name) if name in mapped else archive.read(name) for name in archive.names}


@dataclass(frozen=True)
class ArrayHeader:
    """What an array file says of its content.

    Attributes
    ----------
    shape : tuple of int
        Shape of the array.
    dtype : dtype
        Type of its elements; never object.
    fortran : bool
        Whether the first axis varies fastest.
    start : int
        Position of the first element in the file, in bytes.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool
    start: int

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def read_header(file: IO[bytes], size: int) -> ArrayHeader:
    """Read the header of a ``.npy`` of `size` bytes; nothing is allocated for the array.

    Raises
    ------
    ValueError
        If it is no ``.npy``, holds Python objects, or does not announce as many bytes as there are.
    """
    head = io.BytesIO(file.read(min(size, _HEADER_BYTES)))
    version = npy.read_magic(head)
    if version not in _HEADER_READERS:
        raise ValueError(f"version {version[0]}.{version[1]} of the array format is not supported")
    shape, fortran, dtype = _HEADER_READERS[version](head)
    header = ArrayHeader(shape, dtype, fortran, head.tell())
    if dtype.hasobject:
        raise ValueError(
            "it holds Python objects, which are not read: save text with .astype(str), numbers with .astype(int)"
        )
    if min(shape, default=0) < 0 or header.start + header.nbytes != size:
        raise ValueError(f"it announces {dtype} {shape}, and holds {size - header.start} bytes")
    return header


def read_npy(file: IO[bytes], path: str, largest: int) -> np.ndarray:
    """Read a ``.npy`` of at most `largest` bytes, without pickles.

    Raises
    ------
    InputError
        Naming `path`, if it is damaged or larger.
    """
    with naming(path):
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        header = read_header(file, size)
        if header.nbytes > largest:
            raise ValueError(f"it holds {header.nbytes} bytes, more than {largest}")
        file.seek(header.start)
        return _array(file, header)


class NpzArchive:
    """A ``.npz`` whose members are checked before they are read.

    Parameters
    ----------
    file : binary file
        Opened for reading; it must stay open as long as rows are read.
    path : str
        Its name, for messages.

    Raises
    ------
    InputError
        From here and every method, naming the file, if it is damaged or would need a pickle.
    """

    def __init__(self, file: IO[bytes], path: str):
        self._path = path
        with naming(path):
            self._zip = zipfile.ZipFile(file)
            self._infos = {info.filename.removesuffix(".npy"): info for info in self._zip.infolist()}

    @property
    def names(self) -> list[str]:
        """Names of the members."""
        return list(self._infos)

    def header(self, name: str) -> ArrayHeader:
        """Shape and type of a member."""
        with naming(self._path, name):
            info = self._infos[name]
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError("its compression is neither none nor deflate")
            with self._zip.open(info) as member:
                return read_header(member, info.file_size)

    def is_stored(self, name: str) -> bool:
        """Whether a member is uncompressed."""
        return self._infos[name].compress_type == zipfile.ZIP_STORED

    def read(self, name: str, largest: int | None = None) -> np.ndarray:
        """A member, of at most `largest` bytes, as an array."""
        header = self.header(name)
        with naming(self._path, name):
            if largest is not None and header.nbytes > largest:
                raise ValueError(f"it holds {header.nbytes} bytes, more than {largest}")
            with self._zip.open(self._infos[name]) as member:
                member.read(header.start)
                return _array(member, header)

    def verify(self) -> None:
        """Read every member and compare its checksum."""
        with naming(self._path):
            if (damaged := self._zip.testzip()) is not None:
                raise ValueError(f"the checksum of {damaged} is wrong")

    def map(self, name: str) -> np.ndarray:
        """A member as a read-only memory map if it is stored uncompressed in a local file, else as an array."""
        info, header = self._infos[name], self.header(name)
        if not self.is_stored(name) or not header.nbytes:
            return self.read(name)
        with naming(self._path, name):
            # The local header's name and extra field may differ in length from the central directory's.
            with open(self._path, "rb") as file:
                file.seek(info.header_offset + 26)
                name_length, extra_length = np.frombuffer(file.read(4), "<u2").tolist()
            start = info.header_offset + 30 + name_length + extra_length + header.start
            return np.memmap(self._path, header.dtype, "r", start, header.shape, "F" if header.fortran else "C")

    def rows(self, name: str) -> Callable[[np.ndarray], np.ndarray]:
        """A function that reads the rows of a member: quick in ascending order, from the start again for others.

        The checksum of the member is verified when its last row is read.
        """
        header = self.header(name)
        with naming(self._path, name):
            if header.fortran:
                raise ValueError("its images do not lie one after the other: save it with numpy.ascontiguousarray")
            member = self._zip.open(self._infos[name])
        row_shape, row_bytes = header.shape[1:], header.nbytes // max(1, header.shape[0])

        def read(rows: np.ndarray) -> np.ndarray:
            images = np.empty((len(rows), *row_shape), header.dtype)
            with naming(self._path, name):
                for image, row in zip(images, rows.tolist(), strict=True):
                    _go_to(member, header.start + row * row_bytes)
                    image[...] = np.frombuffer(_exactly(member, row_bytes), header.dtype).reshape(row_shape)
                    if row == header.shape[0] - 1:
                        member.read(1)
            return images

        return read


@contextmanager
def naming(path: str, member: str | None = None) -> Iterator[None]:
    """Turn whatever a damaged array file or archive makes its readers raise into an ``InputError``."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        inside = "" if member is None else f", array '{member}'"
        raise InputError(f"{path}{inside} is damaged or not a file of plain arrays: {error}") from error


_HEADER_BYTES = 2**16
#: Bytes that are read on at a time.
_AT_A_TIME = 2**20
_HEADER_READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def _array(file: IO[bytes], header: ArrayHeader) -> np.ndarray:
    flat = np.frombuffer(_exactly(file, header.nbytes), header.dtype, math.prod(header.shape))
    file.read(1)  # the end, where an archive verifies the checksum
    return flat.reshape(header.shape, order="F" if header.fortran else "C")


def _go_to(member: IO[bytes], position: int) -> None:
    """Read on to a position of an archive's member: a seek ahead gives up its checksum (Python 3.12 and newer)."""
    if position < member.tell():
        member.seek(0)
    while (missing := position - member.tell()) > 0:
        _exactly(member, min(missing, _AT_A_TIME))


def _exactly(file: IO[bytes], count: int) -> bytes:
    data = file.read(count)
    if len(data) != count:
        raise EOFError(f"it ends {count - len(data)} bytes early")
    return data
