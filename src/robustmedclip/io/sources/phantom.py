"""Synthetic phantoms as a source of images."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from kedro.io import AbstractDataset

from robustmedclip.images.sets import ImageSet
from robustmedclip.io.versioned import SourceError


class PhantomDataset(AbstractDataset[None, dict[str, ImageSet]]):
    """Draws a labelled collection of phantoms; loads ``{split: ImageSet}``.

    Parameters
    ----------
    name, modality : str
        Filled in from the plan.
    anatomy : str
        ``blood``, ``breast``, ``chest``, ``fundus`` or ``oct``.
    domain : str or mapping
        Name of an acquisition domain, or the fields of one that differ from ``web``.
    counts : mapping
        Images per split; the classes are balanced.
    seed : int
        Seed of the collection.
    size : int
        Side of the images in pixels.
    origin : mapping, optional
        Filled in from the plan's ``origin``.
    class_names : list of str, optional
        Names to use instead of the anatomy's own, in the same order; of findings, some of the anatomy's own.
    findings : bool
        Filled in from the plan's ``task``: whether each class is a finding, which the images of other classes lack.
    """

    synthetic = True

    def __init__(
        self,
        *,
        name: str,
        modality: str,
        anatomy: str,
        domain: str | Mapping[str, Any],
        counts: Mapping[str, int],
        seed: int,
        size: int = 64,
        class_names: list[str] | None = None,
        findings: bool = False,
        origin: Mapping[str, str] | None = None,
        metadata: dict[str, Any] | None = None,
    ):
        self._fields: dict[str, Any] = {"name": name, "modality": modality}
        self._origin = dict(origin or {})
        self._settings: dict[str, Any] = {
            "anatomy": anatomy,
            "domain": domain,
            "counts": counts,
            "seed": seed,
            "size": size,
            "class_names": class_names,
            **({"findings": True} if findings else {}),
        }
        self.metadata = metadata

    def load(self) -> dict[str, ImageSet]:
        """Draw all splits; raises ``SourceError`` with what is wrong with the settings."""
        if problems := self.problems():
            raise SourceError(f"Data set '{self._fields['name']}': {'; '.join(problems)}")
        from robustmedclip.phantoms import ANATOMIES, DOMAINS, Domain, draw_phantoms

        settings = self._settings
        drawn = list(ANATOMIES[settings["anatomy"]].CLASSES)
        classes = settings["class_names"] or drawn
        domain = settings["domain"]
        domain = DOMAINS[domain] if isinstance(domain, str) else Domain(**domain)
        splits = {}
        for split, count in settings["counts"].items():
            sample_ids = np.array([f"{split}/{index:06d}" for index in range(count)])
            labels = np.arange(count, dtype=np.int64) % len(drawn)
            images = draw_phantoms(
                settings["anatomy"],
                sample_ids,
                labels,
                size=settings["size"],
                seed=settings["seed"],
                domain=domain,
            )
            if settings.get("findings"):
                labels = (labels[:, None] == [drawn.index(name) for name in classes]).astype(np.int64)
            splits[split] = ImageSet(
                **self._fields,
                split=split,
                class_names=tuple(classes),
                images=images,
                labels=labels,
                sample_ids=sample_ids,
                origin=self._origin,
                synthetic=self.synthetic,
            )
        return splits

    def verified(self) -> dict[str, ImageSet]:
        """As :meth:`load`: there are no files to verify."""
        return self.load()

    def missing(self) -> None:
        """Nothing: phantoms need no files."""

    def origin(self) -> dict[str, str]:
        """The plan's ``origin``."""
        return self._origin

    def problems(self) -> list[str]:
        """What would make :meth:`load` fail, found without drawing."""
        from robustmedclip.phantoms import ANATOMIES, DOMAINS, Domain

        settings, problems = self._settings, []
        if settings["anatomy"] not in ANATOMIES:
            return [f"unknown anatomy {settings['anatomy']!r}; known are {', '.join(ANATOMIES)}"]
        domain, drawn = settings["domain"], list(ANATOMIES[settings["anatomy"]].CLASSES)
        if isinstance(domain, str) and domain not in DOMAINS:
            problems.append(f"unknown domain {domain!r}; known are {', '.join(DOMAINS)}")
        elif not isinstance(domain, str | Mapping):
            problems.append(f"domain must be the name of one, or fields of one, not {domain!r}")
        elif not isinstance(domain, str) and (unknown := set(domain) - set(Domain.__dataclass_fields__)):
            problems.append(f"unknown field of a domain: {', '.join(sorted(unknown))}")
        problems += self._class_problems(drawn)
        counts, size, seed = settings["counts"], settings["size"], settings["seed"]
        if type(seed) is not int or seed < 0:
            problems.append(f"seed must be a whole number from 0, not {seed!r}")
        if not isinstance(counts, Mapping) or not all(type(count) is int for count in counts.values()):
            problems.append(
                f"counts must map splits to whole numbers of images, as {{train: 600, test: 100}}, not {counts!r}"
            )
        else:
            for split in ("train", "test"):
                if counts.get(split, 0) < len(drawn):
                    problems.append(f"counts.{split} must be at least {len(drawn)}, one image per class")
        if type(size) is not int or not 28 <= size <= 1024:
            problems.append(f"size must lie between 28 and 1024 px, not {size!r}")
        return problems

    def _class_problems(self, drawn: Sequence[str]) -> Iterator[str]:
        """Names that don't fit the classes that are drawn."""
        names = self._settings["class_names"] or drawn
        if not self._settings.get("findings"):
            if len(names) != len(drawn):
                yield f"{len(names)} class names for {len(drawn)} classes"
        elif strange := sorted(set(names) - set(drawn)):
            yield f"there is no finding {', '.join(strange)}; there are {', '.join(drawn)}"

    def test_shape(self) -> tuple[int, int, int, int]:
        """Shape of the test images, ``(N, H, W, C)``."""
        from robustmedclip.phantoms import ANATOMIES

        channels = ANATOMIES[self._settings["anatomy"]].CHANNELS
        return self._settings["counts"]["test"], self._settings["size"], self._settings["size"], channels

    def signature(self) -> Any:
        """The settings that the images depend on."""
        return [self._fields, self._settings]

    def paths(self) -> list[str]:
        """None: phantoms are drawn."""
        return []

    def save(self, data: None) -> None:
        """Phantoms are drawn, not saved."""
        raise NotImplementedError("PhantomDataset is a source: it can't be saved to")

    def _describe(self) -> dict[str, Any]:
        return {**self._fields, **self._settings}
