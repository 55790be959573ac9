"""Which tokenhub this is: the release, and the build where whoever built it says so (TOKENHUB_BUILD, e.g. a commit)."""

import os

from tokenhub import __version__

VERSION = "+".join(filter(None, [__version__, os.environ.get("TOKENHUB_BUILD", "")]))
