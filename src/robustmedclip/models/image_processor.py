"""The preprocessing that an image processor of transformers is set to, read and written."""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robustmedclip.errors import InputError
from robustmedclip.models.preprocessing import ChannelValues, Preprocessing, channel_values
from robustmedclip.models.tokenizers import read_json

#: Pillow's numbers of the interpolations, which ``preprocessor_config.json`` has.
_RESAMPLE = {2: "bilinear", 3: "bicubic"}

#: Image processors of transformers that do what their keys say and no more, in all spellings of their names.
_PROCESSORS = re.compile(r"(CLIP|Bit|Siglip|ViT)(?:ImageProcessor(?:Fast|Pil)?|FeatureExtractor)")

_OBEYED = frozenset(
    {"do_center_crop", "do_normalize", "do_rescale", "do_resize"}
    | {"crop_size", "image_mean", "image_std", "resample", "rescale_factor", "size"}
)

#: Keys that leave the pixels of grey and RGB images as they are: names of classes, layout and device of the output,
#: what is done to other images (``do_convert_rgb``), and settings of what is refused when it is on (``pad_size``).
_WITHOUT_EFFECT = frozenset(
    {"auto_map", "feature_extractor_type", "image_processor_type", "processor_class", "transformers_version"}
    | {"data_format", "device", "disable_grouping", "input_data_format", "return_tensors", "use_fast"}
    | {"default_to_square", "do_convert_rgb", "image_seq_length", "pad_size"}
    | {"_processor_class", "_valid_processor_keys"}
)

#: The family of a model's image processor, where its settings don't say.
_OF_MODELS = {"clip": "CLIP", "siglip": "Siglip", "dinov2": "Bit", "dinov2_with_registers": "Bit"}


def preprocessing_in(folder: Path, model_type: str, image_size: int) -> Preprocessing:
    """What transformers' image processor of a folder does: scale the shortest side and crop, or squash.

    Parameters
    ----------
    folder : Path
        Has ``processor_config.json`` or ``preprocessor_config.json``.
    model_type : str
        Of the model, which says what is done where the file doesn't.
    image_size : int
        Height and width that the network takes, in pixels.

    Raises
    ------
    InputError
        If the file is missing, or says what can't be followed.
    """
    file, settings = _image_processor(folder)
    try:
        _check_keys(settings)
        target, mode = _target(settings, crops=_kind(settings, model_type) in ("CLIP", "Bit"))
        if target != (image_size, image_size):
            raise ValueError(f"its images have {target} pixels, and those of config.json {(image_size, image_size)}")
        mean, std = _statistics(settings)
        if (resample := _required(settings, "resample")) not in _RESAMPLE:
            raise ValueError(f"resample is {resample!r}; known are 2 (bilinear) and 3 (bicubic)")
        return Preprocessing(size=target, mean=mean, std=std, interpolation=_RESAMPLE[resample], resize_mode=mode)
    except (ValueError, TypeError) as error:
        raise InputError(f"The model in {folder} can't be loaded: {file.name} is not supported: {error}") from error


def _image_processor(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The file with the settings of the images, and these: as transformers, the newer file first."""
    newer, older = folder / "processor_config.json", folder / "preprocessor_config.json"
    if newer.is_file() and isinstance(settings := read_json(newer).get("image_processor"), dict):
        return newer, settings
    if older.is_file():
        return older, read_json(older)
    raise InputError(
        f"The model in {folder} can't be loaded: how it wants its images is not said, and not guessed. Get its "
        "preprocessor_config.json, or its processor_config.json with an 'image_processor'"
    )


def _kind(settings: Mapping[str, Any], model_type: str) -> str:
    """The family of image processors, which decides what is done where a key is missing."""
    processor = settings.get("image_processor_type") or settings.get("feature_extractor_type")
    if processor is None:
        return _OF_MODELS[model_type]
    if not (match := _PROCESSORS.fullmatch(str(processor))):
        raise ValueError(f"its image processor is {processor!r}; known are those of CLIP, Siglip, Bit and ViT")
    return match[1]


def _check_keys(settings: Mapping[str, Any]) -> None:
    """Refuse every key that is neither obeyed nor without effect, unless it is switched off."""
    unknown = [
        f"{key}: {json.dumps(value)}"
        for key, value in settings.items()
        if key not in _OBEYED | _WITHOUT_EFFECT and value is not None and not (key.startswith("do_") and value is False)
    ]
    if unknown:
        raise ValueError(
            f"{', '.join(unknown)} may change the images in a way that is not known here. If the model was trained "
            "without, delete it from the file"
        )
    if not _is_on(settings, "do_resize"):
        raise ValueError("do_resize is false, and images have many sizes. Set it to true, with the size of the model")


def _is_on(settings: Mapping[str, Any], key: str, default: bool = True) -> bool:
    value = default if settings.get(key) is None else settings[key]
    if not isinstance(value, bool):
        raise ValueError(f"{key} is {value!r}; it is true or false")
    return value


def _required(settings: Mapping[str, Any], key: str) -> Any:
    if settings.get(key) is None:
        raise ValueError(f"{key} is missing. Take it from where the model was published")
    return settings[key]


def _target(settings: Mapping[str, Any], crops: bool) -> tuple[tuple[int, int], str]:
    """Height and width after scaling, and how they are reached; `crops` is ``do_center_crop`` where it is missing."""
    size, is_cropped = _required(settings, "size"), _is_on(settings, "do_center_crop", crops)
    if isinstance(size, dict) and size.keys() == {"shortest_edge"}:
        size = size["shortest_edge"]
    mode = "squash" if isinstance(size, dict) else "shortest"
    target = _sides(size, "size")
    if mode == "shortest" and not is_cropped:
        raise ValueError(f"size is one side, {size}, without a crop (do_center_crop). Give 'height' and 'width'")
    if is_cropped and (crop := _sides(_required(settings, "crop_size"), "crop_size")) != target:
        raise ValueError(f"it scales to {target} and crops to {crop}; the two have to be equal")
    return target, mode


def _sides(value: Any, key: str) -> tuple[int, int]:
    sides = value if isinstance(value, dict) else {"height": value, "width": value}
    if sides.keys() != {"height", "width"} or not all(type(side) is int and side > 0 for side in sides.values()):
        raise ValueError(f"{key} is {value!r}; it has 'height' and 'width' in whole pixels")
    return sides["height"], sides["width"]


def _statistics(settings: Mapping[str, Any]) -> tuple[ChannelValues, ChannelValues]:
    """Mean and standard deviation on the scale [0, 1], whatever factor the pixels of [0, 255] are multiplied by."""
    factor = settings.get("rescale_factor") or 1 / 255
    if not isinstance(factor, int | float) or not 0 < factor < math.inf:
        raise ValueError(f"rescale_factor is {factor!r}; it is a number above 0, in general 1/255")
    white = 255 * factor if _is_on(settings, "do_rescale") else 255
    mean, std = 0.0, 1.0
    if _is_on(settings, "do_normalize"):
        mean, std = _required(settings, "image_mean"), _required(settings, "image_std")
    return _divided(channel_values(mean, "image_mean"), white), _divided(channel_values(std, "image_std"), white)


def _divided(values: ChannelValues, divisor: float) -> ChannelValues:
    red, green, blue = values
    return red / divisor, green / divisor, blue / divisor


def save_preprocessing(folder: Path, preprocess: Preprocessing) -> None:
    """Write a preprocessing that :func:`preprocessing_in` has read as ``preprocessor_config.json``."""
    height, width = preprocess.size
    cropped = preprocess.resize_mode == "shortest"
    sides = {"height": height, "width": width}
    settings = {
        "do_center_crop": cropped,
        "size": {"shortest_edge": height} if cropped else sides,
        **({"crop_size": sides} if cropped else {}),
        "image_mean": preprocess.mean,
        "image_std": preprocess.std,
        "resample": next(number for number, name in _RESAMPLE.items() if name == preprocess.interpolation),
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(settings, indent=2) + "\n")
