"""The one interface that everything downstream uses of a model."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from robustmedclip.devices import to_host
from robustmedclip.errors import InputError
from robustmedclip.images.findings import prompted_pair
from robustmedclip.models.formats.model_format import ModelFormat
from robustmedclip.models.linear_layers import OneDNNLinear
from robustmedclip.models.preprocessing import Preprocessing

#: Logit scales of models of contrastive training lie between 1 and about 120; far outside, a scale is damaged.
_SMALLEST_SCALE, _LARGEST_SCALE = 1e-3, 1e4


@dataclass
class VisionLanguageModel:
    """A contrastive image-text model; or, of a format without text, an image encoder alone.

    Attributes
    ----------
    name : str
        What it is, for messages.
    network : nn.Module
        Has ``visual``, ``encode_image`` and, with text, ``encode_text``; attention of ``visual`` unfused.
    tokenize : callable or None
        List of strings to token ids; None without text.
    preprocess : Preprocessing
        uint8 images to model input.
    logit_scale : float
        Factor of the cosine similarity, 1 without text. An additive bias, as SigLIP has, is the same for every class
        and left out.
    lora_targets : str
        Regular expression of the layers of the visual encoder that LoRA adapts.
    format : type
        The :class:`~robustmedclip.models.formats.ModelFormat` that it is written in.
    unit_text : bool
        Whether text features have unit length, as they should.
    batch_statistics : bool
        Whether batch normalisation has, in the evaluation, the statistics of the scored images, not the model's.
    config : mapping
        open_clip's ``model_cfg``; empty for a model of transformers, whose network knows its own.
    """

    name: str
    network: nn.Module
    tokenize: Callable[[list[str]], torch.Tensor] | None
    preprocess: Preprocessing
    logit_scale: float
    lora_targets: str
    format: type[ModelFormat]
    unit_text: bool = True
    batch_statistics: bool = False
    config: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _SMALLEST_SCALE <= self.logit_scale <= _LARGEST_SCALE:
            raise InputError(
                f"The model {self.name} can't be loaded: its logit scale is {self.logit_scale:g}, and that of a "
                f"trained model lies between {_SMALLEST_SCALE:g} and {_LARGEST_SCALE:g}: get an undamaged copy"
            )

    @property
    def device(self) -> torch.device:
        """Where the weights are, and the input has to be."""
        return next(self.network.parameters()).device

    @property
    def has_text(self) -> bool:
        """Whether it encodes texts."""
        return self.format.has_text

    def with_network(self, network: nn.Module) -> "VisionLanguageModel":
        """The same model with another network."""
        return replace(self, network=network)

    def encode_image(self, pixels: torch.Tensor) -> torch.Tensor:
        """Unit image features, float32 ``(N, D)``, of model input."""
        encode: Any = self.network.encode_image
        with OneDNNLinear():
            return F.normalize(encode(pixels).float(), dim=-1)

    @torch.inference_mode()
    def encode_text(self, texts: Sequence[str]) -> torch.Tensor:
        """Text features, float32 ``(N, D)``, of unit length if `unit_text`; each text is encoded by itself.

        Raises
        ------
        InputError
            If the model has no text encoder.
        """
        if self.tokenize is None:
            raise InputError(
                f"{self.name} has no text encoder, so that no prompt can be compared with images: fit a head to its "
                "features, such as a linear probe"
            )
        encode: Any = self.network.encode_text
        features = torch.cat([encode(self.tokenize([text]).to(self.device)) for text in texts]).float()
        return F.normalize(features, dim=-1) if self.unit_text else features

    def content_hash(self) -> str:
        """Hash of all weights and buffers."""
        digest = hashlib.blake2b(digest_size=16)
        for name, tensor in sorted(self.network.state_dict().items()):
            digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}".encode())
            # As bytes: numpy has no bfloat16.
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        return digest.hexdigest()


def zero_shot_classifier(
    model: VisionLanguageModel,
    class_names: Sequence[str],
    templates: Sequence[str],
    modality: str,
    *,
    data_set: str | None = None,
    synonyms: Mapping[str, Sequence[str]] = MappingProxyType({}),
    scoring: str | None = None,
) -> torch.Tensor:
    """Unit class vectors from prompts; of findings, differences of such vectors.

    The vector of a class is the normalised mean of its prompts' unit features, one per template and synonym
    (Radford et al. 2021, arXiv:2103.00020, section 3.1.4).

    Parameters
    ----------
    model : VisionLanguageModel
        The model.
    class_names, templates : sequence of str
        Each template contains ``{class_name}`` and may contain ``{modality}`` and ``{data_set}``.
    modality : str
        Imaging modality.
    data_set : str, optional
        Name of the data set, where a template has it.
    synonyms : mapping
        Class name to the names that the prompts have in its place.
    scoring : str, optional
        That the classes are findings, and what each is compared with: one of
        :data:`robustmedclip.images.findings.SCORINGS`.

    Returns
    -------
    Tensor
        float32 ``(classes, D)``. With `scoring`, the vector of a finding minus that of its absence: its logits are the
        log-odds of the finding.

    Raises
    ------
    InputError
        If a class with synonyms is not among the classes, a template has a field that is not given, or two classes have
        the same vector.
    """
    if scoring is not None:
        absent_and_present = [
            zero_shot_classifier(model, names, templates, modality, data_set=data_set, synonyms=of_pair)
            for names, of_pair in (prompted_pair(finding, scoring, synonyms) for finding in class_names)
        ]
        return torch.stack([present - absent for absent, present in absent_and_present])
    if unknown := set(synonyms) - set(class_names):
        raise InputError(
            f"{data_set or modality}: synonyms of {', '.join(map(repr, sorted(unknown)))}, which is no class; "
            f"the classes are {', '.join(map(repr, class_names))}"
        )
    fields = {"modality": modality} | ({"data_set": data_set} if data_set else {})
    prompts = [_prompts(templates, synonyms.get(class_name, [class_name]), fields) for class_name in class_names]
    vectors = [model.encode_text(of_class).mean(0) for of_class in prompts]
    _check_different(class_names, vectors, data_set or modality, model.name)
    classifier = torch.stack(vectors)
    return F.normalize(classifier, dim=-1) if model.unit_text else classifier


def _prompts(templates: Sequence[str], names: Sequence[str], fields: Mapping[str, str]) -> list[str]:
    """Every template with every name of a class."""
    try:
        return [template.format(class_name=name, **fields) for name in names for template in templates]
    except KeyError as error:
        raise InputError(f"A prompt template has {{{error.args[0]}}}, which is not given") from error


def _check_different(class_names: Sequence[str], vectors: Sequence[torch.Tensor], place: str, model: str) -> None:
    """Refuse classes that have the same vector."""
    first: dict[bytes, str] = {}
    for class_name, vector in zip(class_names, to_host(vectors)(), strict=True):
        if (other := first.setdefault(vector.tobytes(), class_name)) != class_name:
            raise InputError(
                f"{place}: the prompts of {other!r} and {class_name!r} are the same to {model}: they are equal, or "
                "differ only behind the tokens that it reads. Shorten the templates or the names, or give 'synonyms'"
            )
