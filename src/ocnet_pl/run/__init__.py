"""One run: trained, saved, resumed, tested; and what it leaves in its directory."""
