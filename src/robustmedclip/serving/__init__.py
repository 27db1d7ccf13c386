"""A tuned model as MLflow serves it."""
