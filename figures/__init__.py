"""Figures and tables of arXiv 2509.24305 and beyond, drawn from the results of sweeps; see README.md."""
