"""The command line: see `python launch.py --help`, and ddm_jax/command_line.py."""

from ddm_jax import interrupts

if __name__ == "__main__":
    interrupts.quietly()  # until `main` hears it

from ddm_jax.command_line import main  # noqa: E402

if __name__ == "__main__":
    interrupts.leave(main())
