"""One folder per stage: its nodes and how they are connected."""
