"""The experiment as it is written down: typed, checked, resolved into strategies."""
