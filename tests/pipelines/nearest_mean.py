"""A method of a user's own: each image has the class whose few-shot images lie nearest on average."""

import numpy as np

from robustmedclip.adaptation.methods.head import HeadMethod
from robustmedclip.adaptation.methods.settings import NotNegative


class NearestClassMean(HeadMethod):
    """The class whose mean feature is nearest.

    Attributes
    ----------
    sharpness : float
        Factor of the negative squared distances, which are the logits.
    """

    sharpness: NotNegative = 50.0

    def fit_classifier(self, model, task, training, validation):
        features, labels = training
        means = np.stack([features[labels == label].mean(0) for label in range(len(task.class_names))])
        # The squared distance to m is that of all classes, -2 m f + m^2.
        return {"weight": 2 * self.sharpness * means, "bias": -self.sharpness * np.square(means).sum(1)}, []
