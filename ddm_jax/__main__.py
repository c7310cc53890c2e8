"""`python -m ddm_jax`, and `ddm_jax`: the command line of launch.py, where it is installed."""

from typing import NoReturn

from ddm_jax import interrupts

if __name__ == "__main__":
    interrupts.quietly()  # until `main` hears it

from ddm_jax.command_line import main  # noqa: E402


def command() -> NoReturn:
    interrupts.leave(main())


if __name__ == "__main__":
    command()
