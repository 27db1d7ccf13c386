"""Five hundred and more damaged files: each is named, or read; none leaves something behind or takes much memory."""

import io
import multiprocessing
import shutil
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
from kedro.io import DatasetError
from PIL import Image
from released_collections import write_medimeta

from robustmedclip.errors import InputError
from robustmedclip.io import FolderDataset, ImageSetDataset, MedIMetaDataset, NpzDataset, ReleasedSetDataset
from robustmedclip.pipelines.ingestion.nodes import ingest

pytestmark = pytest.mark.slow

CLASSES = ["a", "b"]
CONDITIONS = ["clean", *(f"pixelate_severity_{severity}" for severity in range(1, 6))]
LARGEST_BYTES = 1e9

Content = bytes
Mutation = tuple[str, Content]


def truncated_or_flipped(content: bytes, count: int, seed: int) -> Iterator[Content]:
    """Half of the copies are cut, half have bytes changed, more of them near the start and end, where headers are."""
    rng = np.random.default_rng(seed)
    for index in range(count):
        if index % 2:
            yield content[: rng.integers(len(content))]
            continue
        changed = bytearray(content)
        for _ in range(rng.integers(1, 5)):
            place = int(rng.integers(len(content))) if rng.random() < 0.4 else int(rng.integers(-300, 300))
            changed[place % len(content)] = int(rng.integers(256))
        yield bytes(changed)


def own_arrays(**changed) -> dict[str, np.ndarray]:
    rng, arrays = np.random.default_rng(0), {}
    for split, count in (("train", 8), ("val", 4), ("test", 6)):
        arrays[f"{split}_images"] = rng.integers(0, 256, (count, 12, 12, 3), np.uint8)
        arrays[f"{split}_labels"] = np.arange(count, dtype=np.uint8)[:, None] % 2
    return {**arrays, **changed}


def npz(save: Callable = np.savez, **arrays) -> bytes:
    stream = io.BytesIO()
    save(stream, **arrays)
    return stream.getvalue()


def bomb(name: str, announced: str, zeros: int) -> bytes:
    """An archive of good arrays in which one member announces a shape and unpacks to as many zeros."""
    stream = io.BytesIO(npz(**{key: array for key, array in own_arrays().items() if key != name}))
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {announced}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
            member.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
            for _ in range(zeros >> 24):
                member.write(bytes(1 << 24))
    return stream.getvalue()


def png_announcing(width: int, height: int) -> bytes:
    """A picture whose header announces a size, with its right checksum."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + bytes(40)


def picture(side: int = 12) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(side).integers(0, 256, (side, side, 3), np.uint8)).save(stream, "PNG")
    return stream.getvalue()


class Npz:
    """A user's own npz."""

    def __init__(self, root: Path):
        self.root = root
        (root / "own.npz").write_bytes(npz(**own_arrays()))

    def source(self) -> NpzDataset:
        return NpzDataset(name="own", modality="x", filepath=str(self.root / "own.npz"), class_names=CLASSES)

    def mutations(self) -> Iterator[Mutation]:
        for save in (np.savez, np.savez_compressed):
            for content in truncated_or_flipped(npz(save, **own_arrays()), 100, seed=len(save.__name__)):
                yield "own.npz", content
        good = npz(**own_arrays())
        for shape in (
            b"(999999999, 12,12,3)",
            b"(-6, 12, 12, 3), }  ",
            b"(6, 2**63, 1, 3), } ",
            b"(6, 12, 12), }      ",
        ):
            yield "own.npz", good.replace(b"(6, 12, 12, 3), }   ", shape)
        for changed in (
            {"test_labels": np.array([0, 1, 2, 0, 1, 0])},
            {"test_labels": np.array([0, 1, -1, 0, 1, 0])},
            {"test_labels": np.array([0, 1, 2**40, 0, 1, 0])},
            {"test_labels": np.array([0, 1, np.nan, 0, 1, 0])},
            {"test_labels": np.array(["a", "b"] * 3)},
            {"test_labels": np.array([{}, 1, 0, 1, 0, 1], object)},
            {"test_images": np.array([np.zeros((3, 3)), np.zeros((4, 4)), 1, 2, 3, 4], object)},
            {"test_images": np.zeros((6, 12, 12, 3), np.float64)},
            {"test_images": np.zeros((6, 0, 12, 3), np.uint8)},
            {"test_images": np.zeros((6, 10, 12, 3), np.uint8), "train_images": np.zeros((8, 12, 12), np.uint8)},
            {"test_images": np.zeros((5, 12, 12, 3), np.uint8)},
            {"train_labels": np.zeros(8, int), "val_labels": np.zeros(4, int)},
        ):
            yield "own.npz", npz(**own_arrays(**changed))
        for key in own_arrays():
            yield "own.npz", npz(**{(f"../{name}" if name == key else name): a for name, a in own_arrays().items()})
        yield "own.npz", bomb("test_labels", f"({13 << 24},)", 13 << 24)
        yield "own.npz", bomb("test_images", f"({1 << 24}, 4096, 4096, 3)", 1 << 24)


class MedIMeta:
    """A collection of MedIMeta with HDF5."""

    def __init__(self, root: Path):
        self.root = root
        write_medimeta(root, "set", "task", CLASSES)
        for file in (root / "set/images").iterdir():
            file.unlink()

    def source(self) -> MedIMetaDataset:
        return MedIMetaDataset(name="set", modality="x", filepath=str(self.root), id="set", task="task")

    def mutations(self) -> Iterator[Mutation]:
        counts = {"images.hdf5": 120, "info.yaml": 40, "task_labels/task.npy": 30, "splits/test.txt": 20}
        for seed, (name, count) in enumerate(counts.items()):
            for content in truncated_or_flipped((self.root / "set" / name).read_bytes(), count, seed):
                yield f"set/{name}", content
        for line in (
            b"../../../etc/passwd",
            b"images/../../000001.tiff",
            b"images/999999.tiff",
            b"images/000001.tiff\n" * 2,
        ):
            yield "set/splits/test.txt", line
        yield "set/info.yaml", b"!!python/object/apply:os.system ['touch executed']"
        yield "set/info.yaml", b"[" * 5000
        endless = "a0: &a0 [x, x]\n" + "".join(
            f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
        )
        good = (self.root / "set/info.yaml").read_text()
        for text in ("id: set", "task_target: MULTICLASS_CLASSIFICATION", "0: a"):
            yield "set/info.yaml", (endless + good.replace(text, f"{text.partition(':')[0]}: *a11")).encode()
        yield "set/info.yaml", b"[" + b"1," * 2**22 + b"1]"


class Folder:
    """A folder with a CSV."""

    def __init__(self, root: Path):
        self.root = root / "mine"
        self.root.mkdir()
        for index in range(12):
            (self.root / f"{index}.png").write_bytes(picture())
        self.table = "file,label,split\n" + "".join(
            f"{index}.png,{CLASSES[index % 2]},{'test' if index > 5 else 'train'}\n" for index in range(12)
        )
        (self.root / "labels.csv").write_text(self.table)

    def source(self) -> FolderDataset:
        return FolderDataset(name="mine", modality="x", filepath=str(self.root), class_names=CLASSES)

    def mutations(self) -> Iterator[Mutation]:
        for content in truncated_or_flipped(self.table.encode(), 50, seed=0):
            yield "mine/labels.csv", content
        for name in ("../secret.png", "/etc/passwd", "a/../../x.png", "", ".", "labels.csv", "x" * 5000):
            yield "mine/labels.csv", self.table.replace("7.png", name).encode()
        for content in truncated_or_flipped(picture(), 60, seed=1):
            yield "mine/7.png", content
        for size in ((2**31 - 1, 2**31 - 1), (60_000, 60_000), (0, 12), (12, 12)):
            yield "mine/7.png", png_announcing(*size)
        yield "mine/7.png", picture(13)


class Released:
    """A released corrupted set."""

    def __init__(self, root: Path):
        self.root = root
        (root / "cells/test").mkdir(parents=True)
        self.arrays = {"images": own_arrays()["test_images"], "labels": np.arange(6) % 2}
        for condition in CONDITIONS:
            (root / f"cells/test/{condition}.npz").write_bytes(npz(**self.arrays))

    def source(self) -> ReleasedSetDataset:
        return ReleasedSetDataset(filepath=str(self.root / "cells"), suite="medimeta-c", conditions=CONDITIONS)

    def mutations(self) -> Iterator[Mutation]:
        for save in (np.savez, np.savez_compressed):
            for content in truncated_or_flipped(npz(save, **self.arrays), 40, seed=len(save.__name__)):
                yield "cells/test/pixelate_severity_3.npz", content


def read_everything(source, out: Path) -> None:
    if isinstance(source, ReleasedSetDataset):
        source.verified()
        return
    for part in ingest(source.load()):
        ImageSetDataset(filepath=str(out / f"{part.split}.npz")).save(part)


def attack(kind: type, root: Path) -> tuple[int, list[str], int]:
    """Damage one file after the other; how many, what went wrong, and the most memory that was in use, in bytes."""
    target, failures, tried = kind(root), [], 0
    out, before = root / "out", None
    read_everything(target.source(), out)
    for number, (name, content) in enumerate(target.mutations()):
        shutil.rmtree(out, ignore_errors=True)
        file = root / name
        good = file.read_bytes()
        file.write_bytes(content)
        before = before or {path for path in root.rglob("*") if path != out}
        tried += 1
        try:
            read_everything(target.source(), out)
        except (InputError, DatasetError) as error:
            if file.name not in str(error):
                failures.append(f"{name} {number} is not named: {error}")
            if left := [
                path for path in out.rglob("*") if path.is_file() and path.name not in ("pool.npz", "test.npz")
            ]:
                failures.append(f"{name} {number} left {left}")
        except Exception as error:
            failures.append(f"{name} {number} raised {type(error).__name__}: {error}")
        finally:
            file.write_bytes(good)
    if more := {path for path in root.rglob("*") if out not in (path, *path.parents)} - before:
        failures.append(f"new files: {more}")
    return tried, failures, most_memory()


def most_memory() -> int:
    """The most memory that this process has had in use, in bytes.

    Where Linux says it of the process itself: its other figure is inherited from the process that started it.
    """
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset
    import resource

    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    peaks = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    return 1024 * (peaks[0] if peaks else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


@pytest.fixture(scope="module")
def other_process() -> Iterator[ProcessPoolExecutor]:
    """So that a crash is one, and memory is that of the damaged files."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        yield pool


@pytest.mark.parametrize(("kind", "at_least"), [(Npz, 220), (MedIMeta, 210), (Folder, 120), (Released, 80)])
def test_damaged_files(tmp_path, other_process, kind, at_least):
    tried, failures, memory = other_process.submit(attack, kind, tmp_path).result(timeout=300)
    assert tried >= at_least
    assert not failures, f"{len(failures)} of {tried}:\n" + "\n".join(failures[:20])
    assert memory < LARGEST_BYTES
    assert not Path("executed").exists()
