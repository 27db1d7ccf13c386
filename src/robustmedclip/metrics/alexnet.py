"""Published errors of AlexNet on MedMNIST-C, by the name of the data set."""

from robustmedclip.corruptions.suites.alexnet import ALEXNET_ERRORS

#: MedMNIST data set to condition (``clean`` or a corruption) to balanced error.
ALEXNET = {release.removesuffix("_224"): errors for release, errors in ALEXNET_ERRORS.items()}
