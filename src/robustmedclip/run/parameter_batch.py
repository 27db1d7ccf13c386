"""Parameters of the nodes in MLflow, those of a node at once."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kedro_mlflow.framework.hooks.mlflow_hook import MlflowHook


class ParameterBatch:
    """What kedro-mlflow would log one by one, with a commit to the database each, and anew for every node.

    Parameters
    ----------
    hook : MlflowHook
        The hook of kedro-mlflow; instead of logging a parameter it adds it to this batch.
    """

    def __init__(self, hook: "MlflowHook"):
        from mlflow.utils.validation import MAX_PARAM_VAL_LENGTH

        self._new: dict[str, str] = {}
        self._logged: dict[str, str] = {}
        self._hook, self._longest = hook, MAX_PARAM_VAL_LENGTH
        if hasattr(hook, "_log_param"):  # not of its public interface: without it, it logs one by one
            hook._log_param = self._add

    def _add(self, name: str, value: Any) -> None:
        if len(text := str(value)) > self._longest:
            type(self._hook)._log_param(self._hook, name, value)
        elif self._logged.get(name) != text:
            self._new[name] = text

    def log(self) -> None:
        """Log what has been added and isn't logged yet."""
        import mlflow

        if self._new:
            mlflow.log_params(self._new)
            self._logged |= self._new
            self._new = {}
