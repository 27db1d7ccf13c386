"""What fingerprints cover of a source or a model."""

import tempfile
from pathlib import Path
from typing import Any

from robustmedclip.run.contents import Contents


def content_of(dataset: Any) -> list[Any]:
    """Its signature, and the checksums of its files as of a project that has never seen them."""
    with tempfile.TemporaryDirectory() as project:
        return [dataset.signature(), Contents(Path(project)).checksums("entry", dataset.paths())]
