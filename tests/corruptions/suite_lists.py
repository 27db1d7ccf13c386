"""Every list of corruptions that ships, and the kernel and value of a severity."""

from typing import Any

from robustmedclip.corruptions import SUITES, suite
from robustmedclip.corruptions.kernels.kernel import Kernel

#: Suites of acquisitions are looked at on images of their modalities, in files of their own.
ACQUISITION = "acquisition-c"

MEDMNIST_DATASETS = suite("medmnist-c").datasets

#: (suite, data set) of every list; the data set is None where a suite has one list for all.
LISTS = [(name, dataset) for name in SUITES for dataset in suite(name).datasets or (None,)]

#: (suite, data set, corruption) of every corruption of every list.
CASES = [(name, dataset, corruption) for name, dataset in LISTS for corruption in suite(name).corruptions(dataset)]


def kernel_and_value(name: str, severity: int, suite_name: str, dataset: str | None) -> tuple[Kernel, Any]:
    corruption = suite(suite_name).corruption(name, dataset)
    return corruption.kernel, corruption.values[severity - 1]
