"""The module of encoder and decoder, and what is computed with it."""
