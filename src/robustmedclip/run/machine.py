"""What a run was made with: the commit of the project, and the hardware of this machine."""

import os
import platform
import subprocess
import sys
from pathlib import Path


def git_commit(project: Path) -> str:
    """The commit of a project's folder, with ``-dirty`` where files differ from it; ``unknown`` without Git."""
    command = ["git", "-C", str(project), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def hardware() -> str:
    """The processor's kind and cores, and the GPUs if this process has used torch."""
    parts = [f"{os.cpu_count()} cores ({platform.machine()})"]
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        parts += [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return ", ".join(parts)
