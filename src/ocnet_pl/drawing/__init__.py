"""Pictures, number formats and progress bars for all packages above."""
