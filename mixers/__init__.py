"""The mathematics of data mixtures: laws, fidelity, designs, solvers. No input or output, no clock, no torch."""
