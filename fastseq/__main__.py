"""`python -m fastseq` is the command `fastseq`."""

import sys

from fastseq.cli import main

sys.exit(main())
