"""The command line: see `python launch.py --help`, and ddm_jax/command_line.py."""

import sys

from ddm_jax.command_line import main

if __name__ == "__main__":
    sys.exit(main())
