"""How like its original an image is."""

import cv2
import numpy as np

#: Standard deviation of the window in pixels, its side, and the constants that keep ratios finite (Wang et al. 2004).
_SIGMA, _WINDOW, _K1, _K2 = 1.5, 11, 0.01, 0.03
#: PSNR of equal images, in dB; that of images that differ by less is not told apart.
EQUAL = 78.0


def ssim(original: np.ndarray, other: np.ndarray) -> float:
    """Mean structural similarity, at most 1, of images uint8 ``(H, W, C)``, over pixels and channels.

    Wang et al. 2004, doi:10.1109/TIP.2003.819861, with its Gaussian window of 11 x 11 pixels of standard deviation 1.5.
    """
    first, second = original.astype(np.float64), other.astype(np.float64)
    mean, other_mean = _smoothed(first), _smoothed(second)
    variances = _smoothed(first**2) + _smoothed(second**2) - mean**2 - other_mean**2
    covariance = _smoothed(first * second) - mean * other_mean
    c1, c2 = (_K1 * 255) ** 2, (_K2 * 255) ** 2
    luminance = (2 * mean * other_mean + c1) / (mean**2 + other_mean**2 + c1)
    return float((luminance * (2 * covariance + c2) / (variances + c2)).mean())


def psnr(original: np.ndarray, other: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB, at most 78, of images uint8 of one shape."""
    error = np.square(original.astype(np.float64) - other).mean()
    return float(min(EQUAL, 10 * np.log10(255**2 / max(error, 1e-9))))


def _smoothed(image: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(image, (_WINDOW, _WINDOW), _SIGMA, borderType=cv2.BORDER_REFLECT)
