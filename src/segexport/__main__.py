"""The command `segexport`, and `python -m segexport`: handles Ctrl-C before it imports anything."""

import gc
import sys

INTERRUPTED = 130  # a shell's exit code after Ctrl-C


def main() -> None:
    """Runs the command line. Ctrl-C ends it without a traceback, also during imports."""
    gc.set_threshold(10_000)  # imports create no garbage; collecting it takes a fifth of a short command
    try:
        from segexport.cli.main import main as run

        run()
    except KeyboardInterrupt:
        print("interrupted; the same command goes on after the last step that was finished", file=sys.stderr)
        sys.exit(INTERRUPTED)
    finally:
        gc.freeze()  # skips the collection at exit


if __name__ == "__main__":
    main()
