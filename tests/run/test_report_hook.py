"""The newest report at a place without a version."""

from kedro.io.core import Version

from robustmedclip.io import FilesDataset
from robustmedclip.run.report_hook import copy_newest


def test_the_newest_files_lie_beside_the_versions_and_older_ones_go(tmp_path):
    filepath = str(tmp_path / "reporting/tables")
    for version, files in [("2026-01-01", {"a.csv": b"old", "b.csv": b"old"}), ("2026-01-02", {"a.csv": b"new"})]:
        dataset = FilesDataset(filepath=filepath, version=Version(None, version))
        dataset.save(files)
        place = copy_newest(FilesDataset(filepath=filepath, version=Version(None, None)), "latest/tables")
    assert place == str(tmp_path / "reporting/latest/tables")
    copies = {file.name: file.read_bytes() for file in (tmp_path / "reporting/latest/tables").iterdir()}
    assert copies == {"a.csv": b"new"}
