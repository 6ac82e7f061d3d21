"""Kernels compiled ahead of time, for the images of containers and for clusters."""
