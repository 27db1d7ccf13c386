"""The command line beyond ``kedro run``."""
