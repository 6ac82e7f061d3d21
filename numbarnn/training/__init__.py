"""Losses, optimizers and the loop that trains a network."""
