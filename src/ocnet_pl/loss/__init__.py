"""Losses of the classifiers."""
