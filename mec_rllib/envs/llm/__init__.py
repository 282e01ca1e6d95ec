"""A world without an idle state: an accelerator that serves requests in a continuous batch."""
