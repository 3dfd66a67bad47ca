"""What a head costs, measured."""
