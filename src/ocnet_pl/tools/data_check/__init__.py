"""Checks and previews of a data set before training: `ocnet-data`."""
