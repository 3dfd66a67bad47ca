"""`ocnet-predict`: predictions of a checkpoint as files."""
