"""What tests ask of the platform."""

import sys

import pytest

#: Of named pipes, signals that kill, limits of a shell.
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such thing")
