"""Gates that are not built in: each is one file, named in a config by its import path."""
