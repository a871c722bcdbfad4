"""Training: rows and members → a trained net."""
