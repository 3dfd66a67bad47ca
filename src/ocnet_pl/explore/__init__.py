"""Looking into checkpoints: their mistakes, and what they look at under the cursor."""
