"""HARES scores of any Hub handle; the same as the command `hares-evaluate`. Try `--help`."""

import sys

from hares_tf.commands.evaluate import main

if __name__ == "__main__":
    sys.exit(main())
