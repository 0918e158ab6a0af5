"""`python -m hares_tf.finetune` is `hares-finetune`."""

import sys

from hares_tf.finetune.command import main

sys.exit(main())
