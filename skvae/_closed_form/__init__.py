"""Linear models, mixtures and moments in closed form."""
