"""Pictures and progress bars for every package above."""
