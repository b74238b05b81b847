"""How the network learns: data, masks, engine, loop, EMA, checkpoints."""
