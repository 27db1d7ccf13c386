"""A table of labels is checked in time that grows with its length: in one table, beside 32 tables of the same rows."""

import pytest

from robustmedclip.io import FolderDataset

ROWS, PARTS = 160_000, 32


def problems(folder) -> list[str]:
    settings = {"name": "pets", "modality": "photo", "class_names": ["cat", "dog"], "labels": "labels.csv"}
    return FolderDataset(filepath=str(folder), **settings).problems()


@pytest.mark.parametrize("side", ["ours", "reference"])
@pytest.mark.benchmark(group=f"a table of {ROWS} labels, beside {PARTS} tables of as many rows together", min_rounds=3)
def test_label_table(benchmark, tmp_path, side):
    parts = 1 if side == "ours" else PARTS
    for part in range(parts):
        rows = range(ROWS // parts)
        lines = [f"images/{i}.png,{'dog' if i % 2 else 'cat'},{'train' if i % 3 else 'test'}" for i in rows]
        (tmp_path / str(part)).mkdir()
        (tmp_path / str(part) / "labels.csv").write_text("\n".join(["file,label,split", *lines]))

    found = benchmark(lambda: [problems(tmp_path / str(part))[0] for part in range(parts)])
    assert all("names files that don't exist" in problem for problem in found)
