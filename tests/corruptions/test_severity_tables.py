"""The severity tables against a second copy of the published constants, and the package where it is installed."""

import numpy as np
import pytest
from references import medmnistc
from suite_lists import MEDMNIST_DATASETS

from robustmedclip.corruptions import severities
from robustmedclip.corruptions.kernels.blur import zoom_factors

#: Hendrycks & Dietterich 2019; elastic_transform as in `imagecorruptions`.
IMAGENET = {
    "gaussian_noise": (.08, .12, .18, .26, .38),
    "shot_noise": (60, 25, 12, 5, 3),
    "impulse_noise": (.03, .06, .09, .17, .27),
    "defocus_blur": ((3, .1), (4, .5), (6, .5), (8, .5), (10, .5)),
    "glass_blur": ((.7, 1, 2), (.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    "motion_blur": ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    "snow": (
        (.1, .3, 3, .5, 10, 4, .8),
        (.2, .3, 2, .5, 12, 4, .7),
        (.55, .3, 4, .9, 12, 8, .7),
        (.55, .3, 4.5, .85, 12, 8, .65),
        (.55, .3, 2.5, .85, 12, 12, .55),
    ),
    "frost": ((1, .4), (.8, .6), (.7, .7), (.65, .7), (.6, .75)),
    "fog": ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    "brightness": (.1, .2, .3, .4, .5),
    "contrast": (.4, .3, .2, .1, .05),
    "elastic_transform": (250 * .05, 250 * .065, 250 * .085, 250 * .1, 250 * .12),
    "pixelate": (.6, .5, .4, .3, .25),
    "jpeg_compression": (25, 18, 15, 10, 7),
    "speckle_noise": (.15, .2, .35, .45, .6),
    "gaussian_blur": (1, 2, 3, 4, 6),
    "spatter": (
        (.65, .3, 4, .69, .6, 0),
        (.65, .3, 3, .68, .6, 0),
        (.65, .3, 2, .68, .5, 0),
        (.65, .3, 1, .65, 1.5, 1),
        (.67, .4, 1, .65, 1.5, 1),
    ),
    "saturate": ((.3, 0), (.1, 0), (2, 0), (5, .1), (20, .2)),
}  # fmt: skip

#: The factors that zoom_blur averages, in ImageNet-C and in the list of dermamnist.
ZOOMS = (
    np.arange(1, 1.11, 0.01),
    np.arange(1, 1.16, 0.01),
    np.arange(1, 1.21, 0.02),
    np.arange(1, 1.26, 0.02),
    np.arange(1, 1.31, 0.03),
)

#: The lists of medmnist-c for the data sets of RobustMedCLIP (Di Salvo et al. 2024).
MEDMNIST = {
    "bloodmnist": {
        "pixelate": (.6, .5, .4, .3, .25),
        "jpeg_compression": (50, 30, 15, 10, 7),
        "defocus_blur": ((2, .01), (3, .1), (4, .1), (5, .1), (6, .1)),
        "motion_blur": ((3, 3), (5, 5), (10, 5), (10, 7), (10, 9)),
        "brightness_up": (1.1, 1.2, 1.3, 1.35, 1.4),
        "brightness_down": (.9, .8, .7, .6, .5),
        "contrast_up": (1.1, 1.15, 1.2, 1.25, 1.3),
        "contrast_down": (.9, .8, .7, .6, .5),
        "saturate": (.05, .1, .15, .17, .2),
        "stain_deposit": ((1, 24), (2, 24), (3, 24), (3, 24), (3, 32)),
        "bubble": ((5, 10), (7, 10), (10, 10), (12, 12), (15, 12)),
    },
    "breastmnist": {
        "pixelate": (.3, .25, .2, .15, .1),
        "jpeg_compression": (50, 30, 15, 10, 7),
        "speckle_noise": (.1, .15, .2, .25, .3),
        "motion_blur": ((5, 5), (9, 7), (9, 10), (13, 10), (17, 12)),
        "brightness_up": (1.4, 1.5, 1.6, 1.8, 2),
        "brightness_down": (.55, .5, .45, .4, .3),
        "contrast_down": (.9, .8, .7, .6, .4),
    },
    "octmnist": {
        "pixelate": (.3, .25, .2, .15, .1),
        "jpeg_compression": (30, 15, 10, 7, 5),
        "speckle_noise": (.15, .3, .4, .5, .6),
        "defocus_blur": ((.5, .6), (1, .5), (1.5, .1), (2, .5), (2.5, .1)),
        "motion_blur": ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
        "contrast_down": (.6, .4, .3, .2, .15),
    },
    "pneumoniamnist": {
        "pixelate": (.8, .7, .6, .5, .4),
        "jpeg_compression": (50, 30, 15, 10, 7),
        "gaussian_noise": (.04, .05, .06, .07, .08),
        "speckle_noise": (.05, .07, .1, .15, .2),
        "impulse_noise": (.005, .01, .013, .017, .02),
        "shot_noise": (300, 200, 150, 100, 80),
        "gaussian_blur": (3, 5, 7, 9, 11),
        "brightness_up": (1.1, 1.2, 1.3, 1.4, 1.5),
        "brightness_down": (.9, .8, .7, .6, .5),
        "contrast_up": (1.1, 1.2, 1.3, 1.4, 1.6),
        "contrast_down": (.9, .8, .7, .6, .4),
        "gamma_corr_up": (1.1, 1.2, 1.3, 1.4, 1.6),
        "gamma_corr_down": (.9, .8, .7, .6, .4),
    },
    "retinamnist": {
        "pixelate": (.8, .6, .5, .4, .35),
        "jpeg_compression": (30, 25, 20, 10, 5),
        "gaussian_noise": (.04, .08, .12, .16, .2),
        "speckle_noise": (.1, .15, .2, .25, .3),
        "defocus_blur": ((4, .1), (5, .2), (6, .3), (7, .4), (8, .5)),
        "motion_blur": ((8, 5), (15, 5), (15, 8), (15, 12), (20, 15)),
        "brightness_down": (.9, .8, .7, .6, .5),
        "contrast_down": (.9, .8, .7, .6, .4),
    },
}  # fmt: skip


def without_zoom(table) -> dict:
    return {name: values for name, values in table.items() if name != "zoom_blur"}


def test_imagenet_c():
    assert without_zoom(severities("imagenet-c")) == IMAGENET


def test_medimeta_c_has_the_constants_of_imagenet_c():
    names = ("gaussian_noise", "impulse_noise", "motion_blur", "pixelate", "brightness", "contrast")
    assert without_zoom(severities("medimeta-c")) == {name: IMAGENET[name] for name in names}


@pytest.mark.parametrize("suite", [("imagenet-c", None), ("medimeta-c", None), ("medmnist-c", "dermamnist")])
def test_zoom_factors(suite):
    values = severities(*suite)["zoom_blur"]
    assert [len(factors) for factors in ZOOMS] == [12, 16, 11, 13, 11]
    for value, factors in zip(values, ZOOMS, strict=True):
        np.testing.assert_allclose(zoom_factors(*value), factors, rtol=0, atol=1e-12)


def test_medmnist_c_has_twelve_lists_of_131_corruptions():
    assert {dataset: len(severities("medmnist-c", dataset)) for dataset in MEDMNIST_DATASETS} == {
        "pathmnist": 11, "bloodmnist": 11, "dermamnist": 15, "retinamnist": 8, "tissuemnist": 8, "octmnist": 6,
        "breastmnist": 7, "chestmnist": 13, "pneumoniamnist": 13, "organamnist": 13, "organcmnist": 13,
        "organsmnist": 13,
    }  # fmt: skip


@pytest.mark.parametrize("dataset", MEDMNIST)
def test_medmnist_c(dataset):
    assert severities("medmnist-c", dataset) == MEDMNIST[dataset]


@pytest.mark.parametrize("dataset", MEDMNIST_DATASETS)
def test_medmnist_c_as_in_the_package(dataset):
    theirs = {name: corruption.severity_params[:5] for name, corruption in medmnistc()[0][dataset].items()}
    ours = severities("medmnist-c", dataset)
    assert list(ours) == list(theirs)
    notations = {"zoom_blur": lambda value: zoom_factors(*value), "stain_deposit": lambda value: value[0]}
    for name, values in ours.items():
        for value, expected in zip(values, theirs[name], strict=True):
            noted = notations.get(name, lambda value: value)(value)
            np.testing.assert_allclose(noted, expected, rtol=0, atol=1e-12)
