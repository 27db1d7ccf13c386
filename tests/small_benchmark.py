"""The benchmark on tiny data: two data sets, every kind of adaptation, in a project of its own."""

from pathlib import Path

from projects import CLASSES, Project

PHANTOM = {
    "type": "robustmedclip.io.PhantomDataset",
    "anatomy": "oct",
    "domain": "hospital",
    "counts": {"train": 80, "test": 24},
    "seed": 0,
}
PLAN = {
    "data_sets": {
        "phantom_oct": {"modality": "retinal OCT", "source": PHANTOM},
        "squares": {
            "modality": "drawing",
            "classes": CLASSES,
            "source": {"type": "robustmedclip.io.FolderDataset", "filepath": "squares"},
        },
    },
    "corruptions": {"suite": "medimeta-c", "names": ["gaussian_noise", "pixelate"]},
    "adaptations": {
        "lora": {"method": "robust-lora", "models": "all", "fractions": [0.05, 0.1], "rank": 4, "epochs": 2},
        "probe": {"method": "linear-probe", "models": ["phantom_vit"], "fractions": [0.1]},
        "cache": {"method": "cache-adapter", "models": ["phantom_vit"], "fractions": [0.1]},
        "ensemble": {"method": "prompt-ensemble", "models": ["phantom_vit"]},
    },
}


def new_project(folder: Path) -> Project:
    """A project with the plan of these tests, and its squares."""
    project = Project(folder)
    project.draw_squares()
    project.configure(PLAN)
    return project
