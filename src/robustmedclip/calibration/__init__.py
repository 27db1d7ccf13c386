"""What severities do to images: how like the original they stay, what a model sees of it, and what clinicians say."""
