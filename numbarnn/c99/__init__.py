"""Networks as C99: one step of all layers as straight code, from the equations of `cells`, with the weights as constants."""
