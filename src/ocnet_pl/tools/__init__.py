"""Commands beside training and reports: each measures, draws and prints its own subject; none imports another."""
