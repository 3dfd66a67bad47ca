"""`ocnet-convert`: the OCNet authors' checkpoints."""
