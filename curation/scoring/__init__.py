"""One file per scorer of evidence frames, mutually independent; no film is opened here."""
