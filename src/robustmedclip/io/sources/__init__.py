"""Sources of images: a user's own, published collections, and phantoms."""

#: Short names of the sources that ship; any other is named by its dotted path.
SOURCES = {
    "folder": "robustmedclip.io.FolderDataset",
    "medimeta": "robustmedclip.io.MedIMetaDataset",
    "medmnist": "robustmedclip.io.MedMNISTDataset",
    "npz": "robustmedclip.io.NpzDataset",
    "phantom": "robustmedclip.io.PhantomDataset",
}
