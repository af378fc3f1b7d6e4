"""python -m gir_cli"""

import os
import sys

from gir_cli.cli import main
from gir_cli.cli.places import launched


def run() -> None:
    """Run the program and end the process with its status."""
    status = main()
    if launched():
        # Gloo's threads outlive their group; one that lets go of its last work while Python shuts down
        # aborts the process, and with it a run that was done.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


if __name__ == "__main__":
    run()
