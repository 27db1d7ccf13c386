"""The packages `imagecorruptions` and `medmnistc`, which our corruptions are measured against.

Both pin or expect old versions of what they stand on, so install them without:
``pip install --no-deps imagecorruptions medmnistc``. What they miss in current versions of NumPy, SciPy, scikit-image
and setuptools is put in place here, in their own modules where possible. Their results are untouched.
"""

import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage
from skimage.filters import gaussian

#: NumPy with what it had when the packages were written.
_OLD_NUMPY = SimpleNamespace(**vars(np) | {"float_": np.float64, "fromstring": np.frombuffer, "random": np.random})


def imagecorruptions() -> ModuleType:
    """The package `imagecorruptions`; skips the test where it is not installed."""
    _stand_in("pkg_resources", resource_filename=_resource_filename)
    _stand_in("scipy.ndimage.interpolation", map_coordinates=ndimage.map_coordinates)
    package = pytest.importorskip("imagecorruptions")
    kernels = sys.modules["imagecorruptions.corruptions"]
    kernels.np = _OLD_NUMPY
    kernels.gaussian = _gaussian
    return package


@cache
def medmnistc() -> tuple[dict, bool]:
    """The lists of `medmnistc`, data set to corruption to object, and whether its motion blur can run.

    Motion blur needs Wand and ImageMagick. Skips the test where the package is not installed.
    """
    try:
        import_module("wand.image")
        motion = True
    except ImportError:
        motion = False
        _stand_in("wand", image=None, api=None)
        _stand_in("wand.image", Image=object)
        _stand_in("wand.api", library=None)
    registry = pytest.importorskip("medmnistc.corruptions.registry")
    sys.modules["medmnistc.corruptions.filter"].np = _OLD_NUMPY
    for corruptions in registry.CORRUPTIONS_DS.values():
        for corruption in corruptions.values():
            corruption.rng = np.random.default_rng(0)
    return registry.CORRUPTIONS_DS, motion


def _stand_in(name: str, **contents: object) -> None:
    try:
        import_module(name)
    except ImportError:
        module = ModuleType(name)
        vars(module).update(contents)
        sys.modules[name] = module


def _resource_filename(package: str, resource: str) -> str:
    return str(Path(sys.modules[package].__file__).parent / resource)


def _gaussian(image: np.ndarray, sigma: object, multichannel: bool = False, **settings: object) -> np.ndarray:
    return gaussian(image, sigma, channel_axis=-1 if multichannel else None, **settings)
