"""`python -m aliquot_verify bundle.zip`."""

import sys

from aliquot_verify.cli import main

sys.exit(main())
