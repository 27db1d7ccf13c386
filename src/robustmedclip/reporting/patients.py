"""What the report says of patients: that they are resampled, and of how many the test images are."""

import pandas as pd

from robustmedclip.metrics.table import PATIENTS
from robustmedclip.reporting.note import Note

#: With fewer clusters, a bootstrap of clusters gives intervals that are too narrow (Cameron, Gelbach & Miller 2008,
#: doi:10.1162/rest.90.3.414, who simulate 5 to 30 of them).
FEWEST_PATIENTS = 30


def patient_notes(metrics: pd.DataFrame) -> list[Note]:
    """What a reader has to know of patients, from the rows of data sets of the table of metrics; none without them."""
    if PATIENTS not in metrics:
        return []
    sizes = metrics.groupby("data_set")[["n", PATIENTS]].max()
    known = sizes[sizes[PATIENTS].notna()]
    counts = [f"{row.Index}: n = {row.n:.0f} images of {row.patients:.0f} patients" for row in known.itertuples()]
    others = sizes.index.difference(known.index).tolist()
    rest = f" Of {', '.join(others)} it is not known whose the images are: they are resampled each by itself."
    notes = [
        Note(
            "Patients are resampled, not images:",
            "an interval or a test draws patients, each with all of their images, which are alike. "
            f"{'; '.join(counts)}.{rest if others else ''}",
        )
    ]
    if few := known.index[known[PATIENTS] < FEWEST_PATIENTS].tolist():
        text = (
            f"the test images of {', '.join(few)} are of fewer than {FEWEST_PATIENTS}: their intervals are too narrow."
        )
        notes.append(Note("Few patients:", text, warning=True))
    return notes
