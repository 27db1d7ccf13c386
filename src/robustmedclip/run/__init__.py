"""What surrounds a run: configuration, catalog, fingerprints, preflight, progress and tracking."""
