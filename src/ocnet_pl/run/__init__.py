"""One run: training, saving, resuming and testing, and the files in its directory."""
