"""Features of streams of images."""

import numpy as np
import torch
from model_sources import open_clip_dataset

from robustmedclip.models.batch_size import BATCH_SIZE, images_at_a_time
from robustmedclip.models.inference import image_features


def test_a_vit_takes_few_images_at_a_time_to_the_bytes_of_a_whole_pass():
    vit, resnet = (
        open_clip_dataset(path=f"package:models/{name}").load() for name in ("phantom_vit", "phantom_resnet")
    )
    assert images_at_a_time(vit) < images_at_a_time(resnet) == BATCH_SIZE
    images = np.random.default_rng(0).integers(0, 256, (BATCH_SIZE, 64, 64, 3), np.uint8)
    with torch.inference_mode():
        expected = vit.encode_image(vit.preprocess(images)).numpy()
    assert np.array_equal(np.concatenate(list(image_features(vit, [images]))), expected)
