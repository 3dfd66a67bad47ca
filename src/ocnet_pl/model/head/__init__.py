"""Context heads, one file each; their contract is `model/contract.py`."""
