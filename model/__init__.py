"""The network and how it generates: DiT, conditioning, latent codec, text, flow matching, tree."""
