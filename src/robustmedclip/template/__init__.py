"""What a new project is made of; with the configuration and the layers of data, where the package is installed."""

from importlib.resources import files
from pathlib import Path


def shipped(name: str) -> Path:
    """A file or folder of the template: in the installed package, or, of a clone, where its root has it."""
    package = Path(str(files("robustmedclip")))
    inside = package / "template" / name
    return inside if inside.exists() else package.parents[1] / name
