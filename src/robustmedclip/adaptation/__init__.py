"""Few-shot adaptation of the visual encoder, or of a classifier on its features."""
