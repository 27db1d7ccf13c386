"""NumPy archives, written as a stream and read through a memory map, without pickles."""

import zipfile
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

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
    try:
        with zipfile.ZipFile(path) as archive:
            maps = {}
            for info in archive.infolist():
                name = info.filename.removesuffix(".npy")
                if name in mapped and info.compress_type == zipfile.ZIP_STORED:
                    maps[name] = _map_member(path, info)
        with np.load(path, allow_pickle=False) as members:
            return {name: maps[name] if name in maps else members[name] for name in members.files}
    except (zipfile.BadZipFile, ValueError, EOFError, KeyError) as error:
        raise InputError(f"{path} is damaged or not an .npz file of plain arrays: {error}") from error


def _map_member(path: Path, info: zipfile.ZipInfo) -> np.ndarray:
    with open(path, "rb") as file:
        # The local header's name and extra field may differ in length from the central directory's.
        file.seek(info.header_offset + 26)
        name_length, extra_length = np.frombuffer(file.read(4), "<u2").tolist()
        start = info.header_offset + 30 + name_length + extra_length
        file.seek(start)
        version = npy.read_magic(file)
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read_header(file)
        offset = file.tell()
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if offset - start + size != info.file_size:
        raise ValueError(f"'{info.filename}' announces {size} bytes of data and holds {info.file_size}")
    if size == 0:
        return np.empty(shape, dtype)
    return np.memmap(path, dtype, "r", offset, shape, order="F" if fortran else "C")
