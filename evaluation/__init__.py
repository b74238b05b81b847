"""How generated videos are judged: suites, metrics, score, human study."""
