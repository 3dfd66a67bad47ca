"""Runs on wandb: curves as they come, results when they are there."""
