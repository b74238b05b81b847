"""Surrogates: classical image statistics that stand in where no weights are, and say so."""
