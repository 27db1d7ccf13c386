"""A tuned model as MLflow loads and serves it: images in, class probabilities out.

MLflow keeps a copy of this file with the model and runs it; it needs robustmedclip installed.
"""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from scipy.special import expit, softmax

from robustmedclip.adaptation.guard import as_guard
from robustmedclip.images.pixels import batches
from robustmedclip.models.formats import load_model

PROMPTS, GUARDS = "prompts.json", "guards.json"


class TunedModel(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]
    """A folder of open_clip or transformers with the prompts of the data sets that the model was tuned on."""

    def load_context(self, context: Any) -> None:
        """Load the weights."""
        from robustmedclip.models.interface import zero_shot_classifier

        folder = Path(context.artifacts["model"])
        prompts = json.loads((folder / PROMPTS).read_text())
        model = load_model(folder, (context.model_config or {}).get("format"))
        self._classes = {name: prompt["class_names"] for name, prompt in prompts.items()}
        self._of_findings = {name for name, prompt in prompts.items() if "scoring" in prompt}
        self._model, self._classifier = model, cache(lambda name: zero_shot_classifier(model, **prompts[name]))
        guards = json.loads((folder / GUARDS).read_text())
        self._guards = {name: as_guard(values) for name, values in guards.items()}

    def predict(self, context: Any, model_input: np.ndarray, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Probabilities of the classes, or of each of the findings, of a data set.

        Parameters
        ----------
        context : object
            Unused.
        model_input : ndarray
            uint8 ``(N, H, W, 1 or 3)``.
        params : dict, optional
            ``data_set``: whose classes.

        Returns
        -------
        DataFrame
            float64, a row per image, a column per class.

        Raises
        ------
        MlflowException
            If the data set is unknown, or these are no such images.
        """
        from robustmedclip.models.batch_size import BATCH_SIZE
        from robustmedclip.models.inference import image_logits

        name = (params or {}).get("data_set")
        if name not in self._classes:
            raise MlflowException.invalid_parameter_value(
                f"Unknown data set {name!r}; the model knows {', '.join(self._classes)}"
            )
        images = np.asarray(model_input)
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3) or 0 in images.shape:
            raise MlflowException.invalid_parameter_value(
                f"Images must be uint8 (N, H, W, 1 or 3), not {images.dtype} {images.shape}"
            )
        guard = self._guards.get(name)
        if guard is not None and images.shape[-1] != (channels := len(guard.low[0])):
            raise MlflowException.invalid_parameter_value(
                f"Images of {name!r} have {channels} channels, not {images.shape[-1]}"
            )
        model = replace(self._model, preprocess=replace(self._model.preprocess, guard=guard))
        logits = image_logits(model, self._classifier(name), batches(images, BATCH_SIZE))
        wide = np.concatenate(list(logits)).astype(np.float64)
        probabilities = expit(wide) if name in self._of_findings else softmax(wide, axis=1)
        return pd.DataFrame(probabilities, columns=self._classes[name])


mlflow.models.set_model(TunedModel())
