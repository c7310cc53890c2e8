"""`python -m ddm_jax`: the command line of launch.py, where the package is installed."""

import sys

from ddm_jax.command_line import main

if __name__ == "__main__":
    sys.exit(main())
