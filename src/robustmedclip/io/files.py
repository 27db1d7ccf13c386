"""Folders of small files."""

from pathlib import Path

from robustmedclip.io.versioned import AtomicDataset


class FilesDataset(AtomicDataset[dict[str, bytes]]):
    """A flat folder: file name to content."""

    def _write(self, path: Path, data: dict[str, bytes]) -> None:
        path.mkdir(parents=True)
        for name, content in data.items():
            (path / name).write_bytes(content)

    def _read(self, path: Path) -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in sorted(path.iterdir())}
