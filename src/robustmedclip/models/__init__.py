"""Vision-language models behind one interface: preprocess, encode_image, encode_text."""
