"""One file per captioner. A captioner turns a clip into words, or says why it cannot."""
