"""The network: backbone -> context head -> classifier."""
