"""The command `segexport`, and `python -m segexport`: nothing is imported before an interruption has an answer."""

import sys

INTERRUPTED = 130  # what a shell says after Ctrl-C


def main() -> None:
    """Runs the command line. Ctrl-C ends it at any moment, also while it is being imported, without a traceback."""
    try:
        from segexport.cli.main import main as run

        run()
    except KeyboardInterrupt:
        print("interrupted; the same command goes on after the last step that was finished", file=sys.stderr)
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
