"""What the attention of trained heads looks at, measured over a split and drawn for an image."""
