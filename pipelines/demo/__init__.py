"""The demo library: short films with known truth, rendered by the project itself."""
