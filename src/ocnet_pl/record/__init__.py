"""Files of a run and of a sweep: what they contain, and how they are read back. Without torch."""
