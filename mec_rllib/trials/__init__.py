"""One strategy with one seed, from the first slot to its row. No Tune in here."""
