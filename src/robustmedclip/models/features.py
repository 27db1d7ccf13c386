"""Image features of one model on one data set."""

import itertools
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from robustmedclip.errors import InputError
from robustmedclip.images.conditions import Condition
from robustmedclip.images.pixels import batches
from robustmedclip.progress import volume

#: Features of more bytes wait in a temporary file until they are stored.
MOST_IN_MEMORY = 256 * 2**20
_ROWS = 4096


@dataclass(frozen=True)
class Features:
    """Image features of one model on one data set under every condition.

    Attributes
    ----------
    data_set, modality : str
        The data set the images come from.
    class_names : tuple of str
        Its classes.
    conditions : tuple of Condition
        The first is clean.
    labels : ndarray
        int64 ``(N,)``.
    sample_ids : ndarray
        str ``(N,)``.
    weights : str
        Content hash of the model.
    precision : str
        That the images were encoded in, ``float32`` or ``bfloat16``; on a GPU with its name and the images per pass.
    rows : ndarray
        float32 ``(conditions * N, D)``: unit features of the N images under the first condition, then the next; may be
        a memory map.
    """

    data_set: str
    modality: str
    class_names: tuple[str, ...]
    conditions: tuple[Condition, ...]
    labels: np.ndarray
    sample_ids: np.ndarray
    weights: str
    precision: str
    rows: np.ndarray

    def batches(self) -> Iterator[np.ndarray]:
        """The rows in parts, float32 ``(<=4096, D)``, which leave little of a memory map in memory."""
        return batches(self.rows, _ROWS)


def collected(parts: Iterator[Sequence[np.ndarray]], rows: int, data_set: str) -> list[np.ndarray]:
    """Streams that are read in step, each as one array: in memory, or large ones as a map of a temporary file.

    Parameters
    ----------
    parts : iterator of sequences of ndarray
        The next rows of each stream, ``(n, D)``.
    rows : int
        Rows of each stream.
    data_set : str
        Whose features they are, for messages.

    Returns
    -------
    list of ndarray
        Each ``(rows, D)``. The file of a map is gone when the map is.

    Raises
    ------
    InputError
        If the folder of temporary files has no space for them.
    """
    first = next(parts)
    parts = itertools.chain([first], parts)
    needed = rows * sum(part[0].nbytes for part in first)
    if needed <= MOST_IN_MEMORY:
        return [np.concatenate(stream) for stream in zip(*parts, strict=True)]
    folder = tempfile.gettempdir()
    if (free := shutil.disk_usage(folder).free) < needed:
        raise InputError(
            f"The features of '{data_set}' take {volume(needed)} under {folder} until they are stored, and "
            f"{volume(free)} are free: set TMPDIR to another folder"
        )
    with ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile()) for _ in first]
        for arrays in parts:
            for file, array in zip(files, arrays, strict=True):
                file.write(array.tobytes())
        for file in files:
            file.flush()
        return [
            np.memmap(file, array.dtype, "r").reshape(-1, array.shape[1])
            for file, array in zip(files, first, strict=True)
        ]
