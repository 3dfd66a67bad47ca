"""Context heads, one file each; `model/contract.py` says what a head is."""
