"""How one video is judged: VBench-Long's six quality dimensions, and surrogates without weights."""
