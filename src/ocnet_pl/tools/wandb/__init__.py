"""wandb: curves and results of a run, and the workspace that compares rows."""
