"""What all tests share."""

import robustmedclip.models  # noqa: F401 - lets open_clip and peft be imported beside a CPU build of torch
