"""Hard instances: chains of coordinates that stochastic gradients discover one after another."""
