"""Tables, figures and pages, from metrics and logits; knows nothing of Kedro."""
