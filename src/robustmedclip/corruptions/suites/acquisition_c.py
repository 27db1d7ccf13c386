"""acquisition-c: what scanners, sensors and stainings really do to medical images.

Every corruption says which modalities it makes sense for, where its constants are from, and up to which severity it is
realistic. Lengths in pixels are given for images whose shorter side is 224; they scale with that side.

Published constants (read in the sources named, at these commits, without their code):

- MedFM-Robust: vfdv52/MedFM-Robust-@1408ad5, arXiv:2605.19027
- Jaspers et al. 2024, doi:10.1016/j.media.2024.103157
- CheXphoto: stanfordmlgroup/cheXphoto@476368b; its four levels are severities 2 to 5
- usaugment 1.0.1, arXiv:2501.13193; TorchIO 1.2.1, doi:10.1016/j.cmpb.2021.106236
- cofe-Net: Shen et al. 2020, doi:10.1109/TMI.2020.3043495; images of 512 px
- Histopath-C: arXiv:2601.12493; MedMNIST-C: arXiv:2406.17536
"""

from collections.abc import Sequence
from typing import Any

from robustmedclip.corruptions.kernels import (
    blur,
    capture,
    kspace,
    microscopy,
    projection,
    radiography,
    retina,
    ultrasound,
)
from robustmedclip.corruptions.kernels.kernel import Kernel
from robustmedclip.corruptions.suites.definition import Corruption, Suite

#: Between which values the mean SSIM of each severity lies, at 224 px, where the constants are ours (bands of
#: MedFM-Robust, without gaps).
SSIM_BANDS = ((0.90, 0.98), (0.80, 0.90), (0.70, 0.80), (0.60, 0.70), (0.50, 0.60))
#: The lowest mean SSIM of a level that is called realistic, where no clinician has said which are.
REALISTIC_SSIM = 0.70

OURS = "ours: set for the SSIM bands"
#: Where no strength reaches the bands: SSIM hardly sees smooth shades, nor what covers little.
EVEN = "ours: even steps"
MEDFM = "MedFM-Robust"


def _corruption(
    kernel: Kernel,
    values: Sequence[Any],
    source: str,
    modalities: Sequence[str] | None,
    realistic: int,
    realistic_source: str | None = None,
) -> Corruption:
    return Corruption(
        kernel,
        tuple(values),
        modalities=None if modalities is None else frozenset(modalities),
        source=source,
        realistic=realistic,
        realistic_source=realistic_source,
    )


_XRAY, _US, _OCT, _FUNDUS = ("X-ray",), ("ultrasound",), ("OCT",), ("fundus photography",)
_MICROSCOPY, _CT, _MR = ("microscopy",), ("CT",), ("MR",)

CORRUPTIONS: dict[str, Corruption] = {
    # dose, as a fraction of the full one
    "quantum_noise": _corruption(
        radiography.quantum_noise, (1, 1 / 2, 1 / 4, 1 / 8, 1 / 16), "doses halved: ours", _XRAY, 4
    ),
    # scattered fraction
    "scatter": _corruption(radiography.scatter, (0.05, 0.10, 0.15, 0.22, 0.30), MEDFM, _XRAY, 5),
    # what a line absorbs
    "grid_lines": _corruption(radiography.grid_lines, (0.03, 0.06, 0.10, 0.15, 0.22), MEDFM, _XRAY, 4),
    # largest shift of the window's centre, as a fraction of the range
    "window_error": _corruption(radiography.window_error, (0.1, 0.2, 0.3, 0.4, 0.5), MEDFM, (*_XRAY, *_CT), 3),
    "underexposure": _corruption(radiography.exposure, (0.85, 0.70, 0.55, 0.40, 0.25), MEDFM, _XRAY, 3),
    "overexposure": _corruption(radiography.exposure, (1.15, 1.30, 1.50, 1.75, 2.00), MEDFM, _XRAY, 4),
    # largest fraction of a side that a blade covers
    "collimation": _corruption(radiography.collimation, (0.005, 0.04, 0.10, 0.18, 0.28), OURS, _XRAY, 3),
    # standard deviation, pixels
    "detector_blur": _corruption(
        blur.gaussian_blur, (0.8, 1.2, 1.6, 2.0, 2.5), "ends: CT-DEGRADBENCH; between: ours", (*_XRAY, *_CT), 5
    ),
    # rate of the attenuation
    "depth_attenuation": _corruption(
        ultrasound.depth_attenuation, (0.6, 1.2, 1.8, 2.4, 3.0), "range: usaugment; steps: ours", _US, 2
    ),
    "acoustic_shadow": _corruption(ultrasound.acoustic_shadow, (0.30, 0.45, 0.55, 0.70, 0.85), MEDFM, _US, 5),
    "haze": _corruption(ultrasound.haze, (0.1, 0.2, 0.3, 0.4, 0.5), "largest: usaugment; steps: ours", _US, 5),
    # weight of the speckle
    "rayleigh_speckle": _corruption(ultrasound.rayleigh_speckle, (0.06, 0.105, 0.15, 0.20, 0.25), OURS, _US, 3),
    # dB
    "gain_error": _corruption(ultrasound.gain_error, (6, 9, 12, 15, 18), OURS, _US, 3),
    "reverberation": _corruption(ultrasound.reverberation, (0.12, 0.18, 0.25, 0.35, 0.45), MEDFM, _US, 5),
    # sigma of the logarithm
    "lognormal_speckle": _corruption(retina.lognormal_speckle, (0.08, 0.15, 0.25, 0.35, 0.50), MEDFM, _OCT, 3),
    # fraction of the width
    "vessel_shadow": _corruption(retina.vessel_shadow, (0.03, 0.05, 0.08, 0.12, 0.18), MEDFM, _OCT, 5),
    # number
    "blink": _corruption(retina.blink, (1, 2, 3, 4, 6), MEDFM, _OCT, 5),
    # fraction of the height
    "scan_shift": _corruption(retina.scan_shift, (0.02, 0.04, 0.06, 0.10, 0.15), MEDFM, _OCT, 5),
    "uneven_illumination": _corruption(retina.uneven_illumination, (0.2, 0.4, 0.6, 0.75, 0.9), EVEN, _FUNDUS, 5),
    "dust_spots": _corruption(
        retina.dust_spots, (0.2, 0.4, 0.6, 0.8, 1.0), "number, radius: cofe-Net; strength: ours", _FUNDUS, 5
    ),
    # standard deviation, pixels
    "lens_defocus": _corruption(
        blur.gaussian_blur, (2.2, 3.3, 4.4, 5.5, 6.6), "range 5 to 15 px at 512: cofe-Net; steps: ours", _FUNDUS, 3
    ),
    "flash_overexposure": _corruption(retina.flash_overexposure, (0.25, 0.48, 0.78, 1.2, 2.0), OURS, _FUNDUS, 3),
    # theta
    "stain_shift": _corruption(
        microscopy.stain_shift, (0.05, 0.10, 0.15, 0.20, 0.30), "first two: Histopath-C; others: ours", _MICROSCOPY, 5
    ),
    "dust": _corruption(
        microscopy.dust,
        (0.15, 0.30, 0.45, 0.60, 0.70),
        "largest, number, size: Histopath-C; steps: ours",
        _MICROSCOPY,
        5,
    ),
    # number
    "air_bubbles": _corruption(
        microscopy.air_bubbles, (1, 2, 4, 8, 15), "largest: Histopath-C; steps: ours", _MICROSCOPY, 5
    ),
    "vignetting": _corruption(microscopy.vignetting, (0.15, 0.3, 0.45, 0.6, 0.8), EVEN, _MICROSCOPY, 5),
    # radius of the disk and standard deviation of its smoothing, pixels
    "section_defocus": _corruption(
        blur.defocus_blur, ((2, 0.01), (3, 0.1), (4, 0.1), (5, 0.1), (6, 0.1)), "MedMNIST-C, bloodmnist", _MICROSCOPY, 5
    ),
    # photons of a ray that nothing attenuates
    "low_dose": _corruption(projection.low_dose, (1e5, 4.8e4, 2.4e4, 1.4e4, 8.8e3), OURS, _CT, 3),
    # views over half a turn
    "sparse_views": _corruption(
        projection.sparse_views, (180, 120, 90, 60, 45), "usual in papers on sparse views; 120: ours", _CT, 2
    ),
    "bias_field": _corruption(kspace.bias_field, (0.30, 0.50, 0.70, 0.85, 0.95), MEDFM, _MR, 5),
    # fraction that every n-th line is weakened by
    "ghosting": _corruption(kspace.ghosting, (0.5, 0.6, 0.7, 0.85, 1.0), "range: TorchIO; steps: ours", _MR, 3),
    # largest translation in pixels, fraction of the lines
    "motion": _corruption(kspace.motion, ((2, 0.15), (5, 0.30), (10, 0.45), (18, 0.60), (30, 0.80)), MEDFM, _MR, 1),
    # of the largest value of k-space
    "spike": _corruption(kspace.spike, (0.012, 0.035, 0.058, 0.082, 0.115), OURS, _MR, 3),
    # compression ratio
    "jpeg2000": _corruption(
        capture.jpeg2000,
        (12, 28, 34, 50, 58),
        "levels 2, 4, 5, 8 and 10 of Jaspers et al. 2024",
        None,
        3,
        "clinicians: Jaspers et al. 2024, of endoscopies (levels up to 5 of 10)",
    ),
    # lines, calipers
    "burnt_in_text": _corruption(capture.burnt_in_text, ((1, 0), (2, 1), (4, 1), (6, 2), (9, 4)), EVEN, None, 5),
    # largest displacement of a corner, gap and opacity of the moire's lines, opacity of the glare
    "screen_photo": _corruption(
        capture.screen_photo,
        (
            (0.02, 20, 0.02, 0.1),
            (0.05, 20, 0.05, 0.2),
            (0.10, 4.5, 0.15, 0.35),
            (0.15, 2.5, 0.35, 0.5),
            (0.2, 1, 0.5, 0.65),
        ),
        "CheXphoto; severity 1 and glare: ours",
        None,
        2,
        "ours: by eye; the tilt alone lowers SSIM",
    ),
}

SUITE = Suite(
    name="acquisition-c",
    source="this project, with constants of the sources named in its table",
    realistic_ssim=REALISTIC_SSIM,
    lists={None: CORRUPTIONS},
)
