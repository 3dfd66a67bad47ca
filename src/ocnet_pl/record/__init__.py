"""Files of runs and sweeps on disk: their content, and how they are read. Without torch."""
