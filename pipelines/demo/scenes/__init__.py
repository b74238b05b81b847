"""The pictures of the demo library: one function per scene, grouped by what they show."""
