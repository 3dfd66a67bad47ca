"""Console scripts: one file each, and none imports torch before it has work to do."""
