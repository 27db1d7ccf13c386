"""Files of images, made in memory."""

import io

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset


def picture(pixels: np.ndarray, kind: str, **options) -> io.BytesIO:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file


def dicom(pixels: np.ndarray, photometric="MONOCHROME2", bits=None, syntax=pydicom.uid.ExplicitVRLittleEndian, **tags):
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = pydicom.uid.generate_uid()
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
    dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = photometric
    dataset.BitsAllocated = 8 * pixels.itemsize
    dataset.BitsStored = bits or dataset.BitsAllocated
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelData = pixels.tobytes()
    for tag, value in tags.items():
        setattr(dataset, tag, value)
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file
