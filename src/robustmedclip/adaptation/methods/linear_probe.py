"""Multinomial logistic regression on image features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from robustmedclip.adaptation.artefacts import Classifier
from robustmedclip.adaptation.heads import (
    LabelledFeatures,
    all_logits,
    head_scores,
    lowest_loss,
    require_images,
)
from robustmedclip.adaptation.methods.head import HeadMethod
from robustmedclip.adaptation.methods.settings import PositiveGrid
from robustmedclip.adaptation.task import Task

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

    from robustmedclip.models.interface import VisionLanguageModel

#: Most iterations of L-BFGS, as of Radford et al. 2021, and the largest slope of the mean loss that is taken for none.
_ITERATIONS, _SLOPE = 1000, 1e-6


class LinearProbe(HeadMethod):
    """Multinomial logistic regression with an L2 penalty (Radford et al. 2021, arXiv:2103.00020, appendix A.3).

    Attributes
    ----------
    l2_strengths : tuple of float
        Strengths of the penalty, above 0, that validation chooses from.
    """

    l2_strengths: PositiveGrid = (0.001, 0.01, 0.1, 1, 10, 100)

    needs_text: ClassVar[bool] = False
    handles_findings: ClassVar[bool] = True

    def fit_classifier(
        self, model: VisionLanguageModel, task: Task, training: LabelledFeatures, validation: LabelledFeatures
    ) -> tuple[Classifier, list[dict[str, Any]]]:
        return fit_linear_probe(training, validation, task.class_names, self.l2_strengths)


def fit_linear_probe(
    training: LabelledFeatures, validation: LabelledFeatures, class_names: Sequence[str], l2_strengths: Sequence[float]
) -> tuple[Classifier, list[dict[str, Any]]]:
    """The probe whose strength has the lowest validation loss, the highest of equals.

    Minimises the summed cross-entropy plus ``l2 / 2 ||weight||^2``. Radford et al. went by accuracy, which ties on few
    images.

    Parameters
    ----------
    training, validation : (ndarray, ndarray)
        Unit features, float32 ``(n, D)``, and labels, int64 ``(n,)`` in ``[0, C)``.
    class_names : sequence of str
        The C classes.
    l2_strengths : sequence of float
        Strengths to choose from.

    Returns
    -------
    classifier : mapping
        ``weight`` and ``bias``.
    search : list of dict
        One per strength, the highest first: ``l2``, ``validation_loss``, ``validation_accuracy``.

    Raises
    ------
    InputError
        If a class has no training image, or there is no validation image.
    """
    from sklearn.linear_model import LogisticRegression

    require_images(training, validation, class_names)
    features, labels = training[0].astype(np.float64), training[1]
    # Each strength starts from where the next higher one ended.
    regression = LogisticRegression(tol=_SLOPE, max_iter=_ITERATIONS, warm_start=True)
    classifiers, search = [], []
    for strength in sorted(l2_strengths, reverse=True):
        # Of two classes, scikit-learn penalises the difference of the weights, twice what each of them is.
        regression.set_params(C=(2 if len(class_names) == 2 else 1) / strength).fit(features, labels)
        classifiers.append(_classifier(regression))
        search.append({"l2": strength} | head_scores(all_logits(classifiers[-1], validation[0]), validation[1]))
    return classifiers[lowest_loss(search)], search


def _classifier(regression: LogisticRegression) -> dict[str, np.ndarray]:
    weight, bias = regression.coef_, regression.intercept_
    if len(weight) == 1:
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return {"weight": weight.astype(np.float32), "bias": bias.astype(np.float32)}
