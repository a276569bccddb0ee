"""Run proofs from the root of the repository: `python -m proofs`."""

import sys

from proofs.runner import main

sys.exit(main())
