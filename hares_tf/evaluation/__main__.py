"""`python -m hares_tf.evaluation`: the command `hares-evaluate`."""

import sys

from hares_tf.evaluation.command import main

sys.exit(main())
