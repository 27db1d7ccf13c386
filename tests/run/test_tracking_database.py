"""MLflow's database is what MLflow itself would make, and is there at once."""

import re
import sqlite3
import time
from pathlib import Path

from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from robustmedclip.run.tracking_database import create_database


def content(path: Path) -> dict[str, list[tuple]]:
    """Rows of every table, and how tables and indices are defined; times apart."""
    with sqlite3.connect(path) as database:
        names = [name for (name,) in database.execute("select name from sqlite_master where type = 'table'")]
        rows = {name: database.execute(f'select * from "{name}"').fetchall() for name in names}
        # MLflow itself gives the constraints of a table in any order.
        definitions = database.execute("select type, name, sql from sqlite_master")
        rows["definitions"] = sorted(
            (kind, name, *sorted(re.findall(r"\w+", sql or ""))) for kind, name, sql in definitions
        )
    now = 1000 * time.time()
    timeless = [
        tuple(None if isinstance(v, int) and now - 1e6 < v <= now else v for v in row)
        for row in rows.pop("experiments")
    ]
    return {**rows, "experiments": timeless}


def test_it_has_the_tables_and_the_rows_that_mlflow_makes(tmp_path):
    create_database(tmp_path / "ours.db")
    SqlAlchemyStore(f"sqlite:///{tmp_path}/mlflows.db", "mlruns")
    assert content(tmp_path / "ours.db").keys() >= {"runs", "metrics", "params", "tags"}
    assert content(tmp_path / "ours.db") == content(tmp_path / "mlflows.db")
    assert {file.name for file in tmp_path.iterdir()} == {"ours.db", "mlflows.db"}


def test_a_database_that_is_there_stays_as_it_is(tmp_path):
    (file := tmp_path / "mlflow.db").write_bytes(b"")
    create_database(file)
    assert file.read_bytes() == b""


def test_each_of_two_projects_has_one(tmp_path):
    for name in ("a", "b"):
        create_database(tmp_path / f"{name}.db")
        store = SqlAlchemyStore(f"sqlite:///{tmp_path}/{name}.db", "mlruns")
        store.create_experiment(name)
        assert {experiment.name for experiment in store.search_experiments()} == {"Default", name}
