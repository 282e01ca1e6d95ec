"""A world in which least use is the worst moment to train: one server, four queues."""
