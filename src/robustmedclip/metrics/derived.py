"""Names of the values that the table of metrics derives from errors, see :mod:`robustmedclip.metrics.robustness`."""

CLEAN_ERROR = "clean_error"
CLEAN_ERROR_RATIO = "clean_error_ratio"
#: What corruption adds to the error, and what adaptation takes from the error under corruption, in points.
POINTS_LOST = "points_lost"
POINTS_WON_BACK = "points_won_back"
RETAINED_ACCURACY = "retained_accuracy"
CE = "ce"
RELATIVE_CE = "relative_ce"
#: Their means over the corruptions.
MCE = "mce"
RELATIVE_MCE = "relative_mce"
#: The mean over the corruptions that tuning saw, and over the others.
MCE_SEEN = "mce_seen"
MCE_HELD_OUT = "mce_held_out"
#: The error, and the mCE, at the levels that no scanner makes.
ERROR_EXTREME = "error_extreme"
MCE_EXTREME = "mce_extreme"
#: Balanced errors in MedMNIST-C's form.
BE = "be"
RBE = "rbe"
