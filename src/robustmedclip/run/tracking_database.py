"""MLflow's database in a file of the project."""

import logging
import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

_MEMORY = "file:robustmedclip?mode=memory&cache=shared"


def create_database(path: Path) -> None:
    """Create the database that MLflow would create itself, if there is no file at `path`, in a fraction of the time.

    MLflow gets to its tables by some sixty migrations, and waits for the disk after each. Here it makes them in memory,
    and they are written as a whole.
    """
    if path.exists() or not path.parent.is_dir():
        return
    import mlflow

    logging.getLogger(mlflow.__name__).setLevel(logging.WARNING)  # importing MLflow has set another
    from mlflow.store.tracking import DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    written = path.with_name(f".{path.name}.partial-{os.getpid()}")
    with closing(sqlite3.connect(_MEMORY, uri=True)) as memory, closing(sqlite3.connect(written)) as file:
        address = f"sqlite:///{_MEMORY}&uri=true"
        store = SqlAlchemyStore(address, DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH)  # type: ignore[no-untyped-call]
        memory.backup(file)
        store.engine.dispose()
    with suppress(OSError):  # another run was faster, or the disk has no links: MLflow opens what is there
        os.link(written, path)
    written.unlink()
