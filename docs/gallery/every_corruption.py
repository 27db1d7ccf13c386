"""The gallery of the site: every corruption of every suite, clean and at severities 1 to 5, drawn when it is built."""

from collections.abc import Iterator

import cv2
import numpy as np
from acquisition_c import by_family, phantom

from robustmedclip.corruptions import SEVERITIES, SUITES, Suite, corrupt, suite

SIDE = 128
#: What the data sets of MedMNIST-C show, as families of phantoms; any other is an X-ray.
FAMILIES = {
    "bloodmnist": "microscopy",
    "breastmnist": "ultrasound",
    "dermamnist": "fundus photography",
    "octmnist": "OCT",
    "pathmnist": "microscopy",
    "retinamnist": "fundus photography",
    "tissuemnist": "microscopy",
}


def pages() -> dict[str, str | bytes]:
    """The page and its pictures, by their place in the site."""
    lines = [
        "# Gallery",
        "",
        "Synthetic phantoms: clean, then severities 1 to 5. Drawn by `docs/gallery` for this page.",
    ]
    pictures: dict[str, str | bytes] = {}
    for name in SUITES:
        lines += ["", f"## {name}"]
        for title, dataset, corruption, family in shown(suite(name)):
            file = f"pictures/gallery/{name}-{dataset or 'any'}-{corruption}.jpg"
            pictures[file] = strip(family, corruption, name, dataset)
            lines += ["", f"**{title}**", "", f"![{title}: clean, and severities 1 to 5]({file})"]
    return {"gallery.md": "\n".join(lines) + "\n", **pictures}


def shown(chosen: Suite) -> Iterator[tuple[str, str | None, str, str]]:
    """Each corruption once: its title, the data set whose list has it, its name, and the family of the phantom."""
    families = {name: family for family, names in by_family().items() for name in names}
    seen: set[str] = set()
    for dataset in chosen.datasets or (None,):
        for name in chosen.corruptions(dataset):
            if name in seen:
                continue
            seen.add(name)
            family = FAMILIES.get(dataset or "", families.get(name, "X-ray"))
            of_data_set = f", as for {dataset}" if dataset else ""
            yield f"{name.replace('_', ' ')}{of_data_set}", dataset, name, family


def strip(family: str, name: str, suite_name: str, dataset: str | None) -> bytes:
    """A phantom, clean and at each severity, side by side, as JPEG."""
    clean = phantom(family)
    images = [clean]
    for severity in SEVERITIES:
        images.append(corrupt(clean[None], name, severity, suite=suite_name, dataset=dataset, seed=0)[0])
    row = np.concatenate([np.repeat(image, 3 // image.shape[-1], axis=-1) for image in images], axis=1)
    small = cv2.resize(row, (SIDE * len(images), SIDE), interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
