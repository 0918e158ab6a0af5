"""`python -m hares_tf.pretrain` is the command `hares-pretrain`."""

import sys

from hares_tf.pretrain.command import main

sys.exit(main())
