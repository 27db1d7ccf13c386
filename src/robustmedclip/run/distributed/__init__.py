"""Runs on many processes and machines: a runner on Dask, and the clusters that it starts or joins."""
