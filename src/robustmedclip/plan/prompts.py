"""What a prompt template may contain."""

import string
from collections.abc import Iterator
from typing import Any


def template_problems(place: str, templates: Any) -> Iterator[str]:
    """What is wrong with a list of prompt templates, a line per problem; `place` says where it is."""
    if (
        not isinstance(templates, list | tuple)
        or not templates
        or not all(isinstance(template, str) for template in templates)
    ):
        yield f"{place}: expected a list of prompt templates, found {templates!r}"
        return
    known = dict.fromkeys(("class_name", "modality", "data_set"), "")
    for template in templates:
        try:
            fields = {field for _, field, _, _ in string.Formatter().parse(template) if field is not None}
            if "class_name" in fields and fields <= known.keys():
                template.format(**known)
                continue
        except (ValueError, LookupError, AttributeError) as error:
            yield f"{place}: {template!r} is not a template ({error})"
        else:
            yield (
                f"{place}: {template!r} must contain {{class_name}} and may contain {{modality}} and {{data_set}}, "
                "nothing else"
            )
