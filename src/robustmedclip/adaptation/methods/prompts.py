"""Zero-shot with other prompts."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator

from robustmedclip.adaptation.methods.method import Method
from robustmedclip.plan.prompts import template_problems


def _templates(values: Any) -> Any:
    if problems := [problem.removeprefix(": ") for problem in template_problems("", values)]:
        raise ValueError("; ".join(problems))
    return values


class PromptEnsemble(Method):
    """Zero-shot with many prompts (Radford et al. 2021, arXiv:2103.00020, section 3.1.4), without labelled images.

    Attributes
    ----------
    templates : tuple of str
        Prompt templates, in place of those of every data set, whose synonyms stay. They contain ``{class_name}`` and
        may contain ``{modality}`` and ``{data_set}``.
    """

    templates: Annotated[tuple[str, ...], BeforeValidator(_templates)] = (
        "{class_name}",
        "{modality}: {class_name}",
        "{class_name}, {modality}",
        "{modality} of {class_name}",
        "a {modality} image of {class_name}",
        "a {modality} image showing {class_name}",
        "this is a {modality} image of {class_name}",
        "{modality} demonstrating {class_name}",
        "{modality} with findings of {class_name}",
    )

    handles_findings: ClassVar[bool] = True

    def prompts(self, templates: Sequence[str]) -> Sequence[str]:
        return self.templates
