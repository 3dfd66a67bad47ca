"""`ocnet-explore`: what the attention of a trained network looks at."""
