"""What nodes import that takes seconds: imported once, by the process that others are forked from."""

import gc

gc.disable()  # none of what is imported is garbage, and looking for some takes a quarter of the time

import robustmedclip.adaptation.tuning  # noqa: E402
import robustmedclip.models.open_clip  # noqa: E402
import robustmedclip.pipeline_registry  # noqa: E402
import robustmedclip.settings  # noqa: E402, F401

gc.freeze()  # the garbage collector of a process then writes to none of these objects, and processes share their pages
gc.enable()
