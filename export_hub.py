"""Weights -> Hub module; the same as the command `hares-export`. Try `--help`."""

import sys

from hares_tf.commands.export import main

if __name__ == "__main__":
    sys.exit(main())
