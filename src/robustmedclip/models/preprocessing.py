"""From uint8 images to what a model sees."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from robustmedclip.devices import to_device

#: Mean and standard deviation of CLIP's training images (Radford et al. 2021; open_clip.constants).
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

#: The same of ImageNet (torchvision.models, He et al. 2016).
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

#: Of red, green and blue.
ChannelValues = tuple[float, float, float]

RESIZE_MODES = ("shortest", "longest", "squash", "pad")

#: Weights of red, green and blue in luminance (ITU-R BT.601), in 1/65536, as Pillow's mode L has them.
_LUMINANCE = (19595, 38470, 7471)
#: Images that a GPU scales at a time: in float32 they take four times their memory, however large they are.
_SCALED_AT_A_TIME = 64


#: Bounds of mean and standard deviation of levels from 0 to 1; the smallest is below 0.2 / 255, as where levels are not
#: scaled.
_SMALLEST, _LARGEST = 1e-4, 4


@dataclass(frozen=True)
class Preprocessing:
    """How a model wants its images.

    Attributes
    ----------
    size : (int, int)
        Height and width in pixels.
    mean, std : tuple of float
        Of the red, green and blue channel, on the scale [0, 1]; a single number is that of all three.
    interpolation : str
        ``bicubic`` or ``bilinear``, antialiased.
    resize_mode : str
        ``shortest``: scale the shortest side, then crop the centre; ``longest``: scale the longest side, then
        pad; ``squash``: scale both sides; ``pad``: put the image on a square as large as its longest side, and
        at least as large as `size`, then scale the square.
    mode : str
        ``RGB``, or ``L``: luminance in all three channels.
    fill_color : int
        Value of padded pixels, in [0, 255].
    stretch : bool
        Whether the levels of each image are stretched, its darkest to 0 and its brightest to 1, before mean and std.
    guard : callable, optional
        What turns uint8 images ``(N, H, W, C)`` into a new array of the same form, before anything else.
    """

    size: tuple[int, int]
    mean: ChannelValues
    std: ChannelValues
    interpolation: str = "bicubic"
    resize_mode: str = "shortest"
    mode: str = "RGB"
    fill_color: int = 0
    stretch: bool = False
    guard: Callable[[np.ndarray], np.ndarray] | None = None

    def __post_init__(self) -> None:
        for field, known in (
            ("interpolation", ("bicubic", "bilinear")),
            ("resize_mode", RESIZE_MODES),
            ("mode", ("RGB", "L")),
        ):
            if getattr(self, field) not in known:
                raise ValueError(f"{field} is {getattr(self, field)!r}; known are {', '.join(known)}")
        for field in ("mean", "std"):
            object.__setattr__(self, field, channel_values(getattr(self, field), field))
        if type(self.fill_color) is not int or not 0 <= self.fill_color <= 255:
            raise ValueError(f"fill_color is {self.fill_color!r}; it is a level of grey, from 0 to 255")
        if min(self.std) <= 0:
            raise ValueError(f"std is {self.std}; a standard deviation is above 0")
        if max(map(abs, self.mean)) > _LARGEST or not _SMALLEST <= min(self.std) <= max(self.std) <= _LARGEST:
            raise ValueError(
                f"mean is {self.mean} and std {self.std}; they are of levels from 0 to 1: divide those of levels "
                "from 0 to 255 by 255"
            )

    def __call__(self, images: np.ndarray, device: torch.device | str = "cpu") -> torch.Tensor:
        """Turn uint8 images ``(N, H, W, 1 or 3)`` into model input, float32 ``(N, 3, *size)``, channels last."""
        images = np.array(images) if self.guard is None else self.guard(images)
        batch = to_device(images, device).permute(0, 3, 1, 2)
        if self.mode == "L" and batch.shape[1] == 3:
            batch = _luminance(batch)
        batch = self._levels(self._resized(batch).to(torch.float32)).expand(-1, 3, -1, -1)
        # Rows of all channels: three times as fast as three channels at a time, where the image is not resized.
        rows = batch.permute(0, 2, 3, 1).reshape(len(batch), batch.shape[2], -1)
        mean, std = (
            to_device(np.tile(np.asarray(values, np.float32), batch.shape[3]), device)
            for values in (self.mean, self.std)
        )
        return rows.sub_(mean).div_(std).view(*rows.shape[:2], -1, 3).permute(0, 3, 1, 2)

    def _levels(self, batch: torch.Tensor) -> torch.Tensor:
        """Levels from 0 to 255, as from 0 to 1."""
        if not self.stretch:
            return batch.div_(255)
        low, high = (of(batch, (1, 2, 3), keepdim=True) for of in (torch.amin, torch.amax))
        return batch.sub_(low).div_((high - low).clamp(min=1))

    def _resized(self, batch: torch.Tensor) -> torch.Tensor:
        if self.resize_mode == "pad":
            batch = self._padded(batch, (max(*self.size, *batch.shape[-2:]),) * 2)
        height, width = batch.shape[-2:]
        target = self._target(height, width)
        if (height, width) != target:
            scaled = _scaled if batch.device.type == "cpu" else _scaled_in_float
            batch = scaled(batch.contiguous(), target, self.interpolation)
        batch = self._padded(batch, self.size)
        top, left = (round((have - want) / 2) for have, want in zip(batch.shape[-2:], self.size, strict=True))
        return batch[..., top : top + self.size[0], left : left + self.size[1]]

    def _target(self, height: int, width: int) -> tuple[int, int]:
        """Size after scaling, rounded as torchvision and open_clip do."""
        rows, columns = self.size
        if self.resize_mode in ("squash", "pad"):
            return self.size
        if self.resize_mode == "shortest" and rows == columns:
            shortest = min(height, width)
            return int(rows * height / shortest), int(rows * width / shortest)
        ratios = height / rows, width / columns
        ratio = min(ratios) if self.resize_mode == "shortest" else max(ratios)
        return round(height / ratio), round(width / ratio)

    def _padded(self, batch: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """The batch in the centre of a canvas that is at least as large as `size`."""
        height, width = batch.shape[-2:]
        rows, columns = max(0, size[0] - height), max(0, size[1] - width)
        if not rows and not columns:
            return batch
        sides = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
        return F.pad(batch, sides, value=self.fill_color)


def channel_values(values: float | Sequence[float], field: str) -> ChannelValues:
    """Values of red, green and blue: three as given, or a single one for all.

    Parameters
    ----------
    values : float or sequence of float
        One number, or a sequence of one or three.
    field : str
        What they are, for the message.

    Raises
    ------
    ValueError
        If they are not one or three finite numbers.
    """
    numbers = list(values) if isinstance(values, Sequence) and not isinstance(values, str) else [values]
    are_numbers = all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in numbers)
    if len(numbers) not in (1, 3) or not are_numbers:
        raise ValueError(f"{field} is {values!r}; it is one number, or one each for red, green and blue")
    red, green, blue = numbers if len(numbers) == 3 else numbers * 3
    return float(red), float(green), float(blue)


def _scaled(batch: torch.Tensor, size: tuple[int, int], interpolation: str) -> torch.Tensor:
    return F.interpolate(batch, size, mode=interpolation, antialias=True, align_corners=False)


def _scaled_in_float(batch: torch.Tensor, size: tuple[int, int], interpolation: str) -> torch.Tensor:
    """What :func:`_scaled` makes of uint8 to a grey level or two, on devices where torch has no kernel for uint8.

    As it does on the CPU, and Pillow does, one side is scaled after the other, and rounded after each.
    """

    def scaled(part: torch.Tensor) -> torch.Tensor:
        for side in ((part.shape[-2], size[1]), size):
            part = _scaled(part.float(), side, interpolation).round_().clamp_(0, 255)
        return part.to(torch.uint8)

    return torch.cat([scaled(part) for part in torch.split(batch, _SCALED_AT_A_TIME)])


def _luminance(batch: torch.Tensor) -> torch.Tensor:
    red, green, blue = (batch[:, channel : channel + 1].int() * weight for channel, weight in enumerate(_LUMINANCE))
    return (red + green + blue + 0x8000).bitwise_right_shift(16).to(torch.uint8)
