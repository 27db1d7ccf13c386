"""What nodes import that takes seconds: imported once, by the process that others are forked from."""

import gc

import robustmedclip.adaptation.tuning
import robustmedclip.models.open_clip
import robustmedclip.pipeline_registry
import robustmedclip.settings  # noqa: F401

gc.collect()
gc.freeze()  # the garbage collector of a process then writes to none of these objects, and processes share their pages
