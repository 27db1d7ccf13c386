"""The newest report at a place without a version."""

import fsspec
import pytest
from kedro.io.core import Version

from robustmedclip.io import FilesDataset
from robustmedclip.run.report_hook import copy_newest


@pytest.mark.parametrize("where", ["folder", "elsewhere"])
def test_the_newest_files_lie_beside_the_versions_and_older_ones_go(tmp_path, monkeypatch, where):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    root = {"folder": str(tmp_path), "elsewhere": "memory://bucket"}[where]
    for version, files in [("2026-01-01", {"a.csv": b"old", "b.csv": b"old"}), ("2026-01-02", {"a.csv": b"new"})]:
        dataset = FilesDataset(filepath=f"{root}/reporting/tables", version=Version(None, version))
        dataset.save(files)
        newest = FilesDataset(filepath=f"{root}/reporting/tables", version=Version(None, None))
        place = copy_newest(newest, "latest/tables")
    assert (
        place
        == {"folder": f"{tmp_path}/reporting/latest/tables", "elsewhere": "memory:///reporting/latest/tables"}[where]
    )
    filesystem, folder = fsspec.core.url_to_fs(place)
    copies = {path.rpartition("/")[2]: filesystem.cat_file(path) for path in filesystem.find(folder)}
    assert copies == {"a.csv": b"new"}
    fsspec.filesystem("memory").store.clear()
