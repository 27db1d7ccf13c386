"""Tells the catalog the fingerprints that the entries of a run will have."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.pipeline import Pipeline

from robustmedclip.io.external import is_external
from robustmedclip.run.catalog import FingerprintedCatalog
from robustmedclip.run.contents import Contents
from robustmedclip.run.fingerprints import expected_fingerprints, signature_fingerprint


class FingerprintHook:
    """Tells the catalog the fingerprint that each entry has to have.

    By it the catalog knows what exists: it comes before the preflight, which asks what a run executes.
    """

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Take the project's folder of the session that begins."""
        self._project = context.project_path

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, pipeline: Pipeline, catalog: FingerprintedCatalog) -> None:
        """Set the fingerprints of all that the pipeline makes."""
        catalog.contents = Contents(self._project)
        catalog.fingerprints = expected_fingerprints(
            pipeline, lambda name: input_fingerprint(name, catalog, self._project), dataset_class=catalog.writer_of
        )


def input_fingerprint(name: str, catalog: FingerprintedCatalog, project: Path) -> Any:
    """Fingerprint of an input of a pipeline.

    Parameters
    ----------
    name : str
        The entry.
    catalog : FingerprintedCatalog
        Where it is.
    project : Path
        The project's folder.

    Returns
    -------
    object
        Of a parameter its value, of a source its signature, the code that reads it and the checksums of its files, of
        any other entry the fingerprint that is stored with it, if any.
    """
    if name == "parameters" or name.startswith("params:"):
        return catalog.load(name)
    dataset = catalog.get(name)
    if is_external(dataset):
        assert catalog.contents is not None
        signature = relative_to_project(dataset.signature(), project)
        return [*signature_fingerprint(dataset, signature), catalog.contents.checksums(name, dataset.paths())]
    return catalog.stored_fingerprint(name)


def relative_to_project(signature: Any, project: Path) -> Any:
    """The signature with paths in the project relative: moving the project with its data changes nothing."""
    if isinstance(signature, Mapping):
        return {key: relative_to_project(value, project) for key, value in signature.items()}
    if isinstance(signature, list | tuple):
        return [relative_to_project(value, project) for value in signature]
    return signature.removeprefix(f"{project}/") if isinstance(signature, str) else signature
