"""What is asked: the benchmark plan."""
