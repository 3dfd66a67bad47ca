"""Many runs from one command: planned, launched side by side, watched."""
