"""The command `segexport`, and `python -m segexport`: nothing is imported before an interruption has an answer."""

import gc
import sys

INTERRUPTED = 130  # what a shell says after Ctrl-C


def main() -> None:
    """Runs the command line. Ctrl-C ends it at any moment, also while it is being imported, without a traceback."""
    gc.set_threshold(10_000)  # imports make many objects and no garbage; looking for it is a fifth of a short command
    try:
        from segexport.cli.main import main as run

        run()
    except KeyboardInterrupt:
        print("interrupted; the same command goes on after the last step that was finished", file=sys.stderr)
        sys.exit(INTERRUPTED)
    finally:
        gc.freeze()  # what is left needs no last look either


if __name__ == "__main__":
    main()
