import sys

from tests.mutations.run import main

sys.exit(main(sys.argv[1:]))
