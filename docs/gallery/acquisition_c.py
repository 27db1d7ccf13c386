"""The pictures and the table of the page on acquisition-c: ``python docs/gallery/acquisition_c.py``.

Writes docs/pictures/acquisition_c.jpg and the table of docs/acquisition-c.md, between its two comments. Needs
scikit-image, for the head of Shepp and Logan, which stands in for slices of CT and MR.
"""

import re
from pathlib import Path

import cv2
import numpy as np

from robustmedclip.corruptions import SEVERITIES, Corruption, corrupt, suite
from robustmedclip.phantoms import DOMAINS, draw_phantoms

DOCS = Path(__file__).parents[1]
SIDE, SHOWN = 224, 4
#: Family of modalities to the phantom that is shown, and its class.
PHANTOMS = {
    "X-ray": ("chest", 1),
    "ultrasound": ("breast", 1),
    "OCT": ("oct", 0),
    "fundus photography": ("fundus", 2),
    "microscopy": ("blood", 2),
}
ANY = "any modality"
SUITE = suite("acquisition-c")


def phantom(family: str) -> np.ndarray:
    """An image of a modality, uint8 ``(SIDE, SIDE, 1 or 3)``; there is no phantom of an ultrasound image."""
    if family in ("CT", "MR"):
        return head()
    anatomy, label = PHANTOMS.get(family, PHANTOMS["X-ray"])
    return draw_phantoms(anatomy, ["gallery"], np.array([label]), size=SIDE, seed=0, domain=DOMAINS["hospital"])[0]


def head() -> np.ndarray:
    """The head of Shepp and Logan, with some texture."""
    from skimage.data import shepp_logan_phantom

    slice_ = cv2.resize(shepp_logan_phantom() ** 0.7, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    grains = cv2.GaussianBlur(np.random.default_rng(0).standard_normal((SIDE, SIDE)), (0, 0), 2.2)
    return (np.clip(slice_ * (1 + 0.08 * grains / grains.std()), 0, 1) * 255).astype(np.uint8)[..., None]


def by_family() -> dict[str, list[str]]:
    """Family to its corruptions; those of several stand with the first of them."""
    rows: dict[str, list[str]] = {}
    for name, corruption in SUITE.corruptions().items():
        family = max(corruption.modalities) if corruption.modalities else ANY
        rows.setdefault(family, []).append(name)
    return rows


def montage() -> np.ndarray:
    """A row for each family: clean, and each of its corruptions at severity 4, RGB."""
    rows = [[labelled(phantom(family), f"{family}: clean")] for family in by_family()]
    for row, (family, names) in zip(rows, by_family().items(), strict=True):
        for name in names:
            image = corrupt(phantom(family)[None], name, SHOWN, suite=SUITE, seed=0)[0]
            row.append(labelled(image, name.replace("_", " ")))
    width = max(map(len, rows))
    blank = np.full((SIDE, SIDE, 3), 255, np.uint8)
    return np.concatenate([np.concatenate([*row, *[blank] * (width - len(row))], axis=1) for row in rows])


def labelled(image: np.ndarray, text: str) -> np.ndarray:
    """The image in colour, with a line of text."""
    picture = np.ascontiguousarray(np.repeat(image, 3 // image.shape[-1], axis=-1))
    cv2.putText(picture, text, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.putText(picture, text, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 220, 60), 1, cv2.LINE_AA)
    return picture


def table() -> str:
    """A row for each corruption."""
    lines = ["| corruption | for | what | severities 1 to 5 | source | realistic up to |", "| --- " * 6 + "|"]
    for names in by_family().values():
        for name in names:
            lines.append(f"| {' | '.join((name, *cells(SUITE.corruption(name))))} |")
    return "\n".join(lines)


def cells(corruption: Corruption) -> tuple[str, ...]:
    """What the table says of a corruption."""
    families = ", ".join(sorted(corruption.modalities)) if corruption.modalities else "any"
    what = " ".join((corruption.kernel.__doc__ or "").split("\n\n")[0].split()).rstrip(".")
    values = "; ".join(spoken(value) for value in corruption.values)
    band = f"{corruption.realistic} of {len(SEVERITIES)}"
    source = f" ({corruption.realistic_source})" if corruption.realistic_source else ""
    return families, what, values, corruption.source or "", band + source


def spoken(value: object) -> str:
    """A value, or several in brackets."""
    if isinstance(value, tuple):
        return f"({', '.join(map(spoken, value))})"
    return f"{value:.4g}"


def main() -> None:
    """Write the picture and the table."""
    picture = cv2.resize(montage(), None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(DOCS / "pictures/acquisition_c.jpg"), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 82])
    page = DOCS / "acquisition-c.md"
    marked = re.compile(r"(<!-- table -->\n).*?(\n<!-- end -->)", re.DOTALL)
    page.write_text(marked.sub(lambda match: match[1] + table() + match[2], page.read_text()))


if __name__ == "__main__":
    main()
