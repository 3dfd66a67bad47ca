"""`ocnet-profile`: parameters, arithmetic, time and memory of heads."""
