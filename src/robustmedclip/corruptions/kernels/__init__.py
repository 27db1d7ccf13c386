"""Kernels of the corruptions, a module per family."""
