"""The OCNet authors' checkpoints, and how they become ours."""
