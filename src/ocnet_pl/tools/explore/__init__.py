"""`ocnet-explore`: show and measure the attention of trained networks."""
