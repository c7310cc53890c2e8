"""From files and the command line to objects: the only part that reads a config."""
