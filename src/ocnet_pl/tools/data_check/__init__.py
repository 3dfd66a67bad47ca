"""`ocnet-data`: a data set looked at before the first GPU hour."""
