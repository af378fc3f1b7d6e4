"""python -m gir_cli"""

import sys

from gir_cli.cli import main

if __name__ == "__main__":
    sys.exit(main())
