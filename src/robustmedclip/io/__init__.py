"""Kedro datasets of the project: sources of images and models, and what the stages hand on."""

from robustmedclip.io.adapter import AdapterDataset
from robustmedclip.io.checkpoint import TrainingCheckpointDataset
from robustmedclip.io.corrupted_set import CorruptedSetDataset
from robustmedclip.io.features import FeaturesDataset
from robustmedclip.io.files import FilesDataset
from robustmedclip.io.head import HeadDataset
from robustmedclip.io.image_set import ImageSetDataset
from robustmedclip.io.logits import LogitsDataset
from robustmedclip.io.models import ModelDataset
from robustmedclip.io.previewed import FigureDataset, MarkdownDataset, TableDataset
from robustmedclip.io.ratings import RatingsDataset
from robustmedclip.io.shot_features import ShotFeaturesDataset
from robustmedclip.io.sources.folder import FolderDataset
from robustmedclip.io.sources.medimeta import MedIMetaDataset
from robustmedclip.io.sources.npz_source import MedMNISTDataset, NpzDataset
from robustmedclip.io.sources.phantom import PhantomDataset
from robustmedclip.io.sources.released_set import ReleasedSetDataset

__all__ = [
    "AdapterDataset",
    "CorruptedSetDataset",
    "FeaturesDataset",
    "FigureDataset",
    "FilesDataset",
    "FolderDataset",
    "HeadDataset",
    "ImageSetDataset",
    "LogitsDataset",
    "MarkdownDataset",
    "MedIMetaDataset",
    "MedMNISTDataset",
    "ModelDataset",
    "NpzDataset",
    "PhantomDataset",
    "RatingsDataset",
    "ReleasedSetDataset",
    "ShotFeaturesDataset",
    "TableDataset",
    "TrainingCheckpointDataset",
]
