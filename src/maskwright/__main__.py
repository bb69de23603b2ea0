"""`python -m maskwright` is the command `maskwright`."""

import sys

from maskwright.cli import main

sys.exit(main())
