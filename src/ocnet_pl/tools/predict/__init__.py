"""`ocnet-predict`: predictions as files."""
