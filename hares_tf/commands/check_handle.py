"""The command `hares-check-handle`: how a module behaves, before its scores are trusted."""

import sys
from collections.abc import Sequence
from typing import Any

from hares_tf.commands import flags
from hares_tf.commands.program import Command

DESCRIPTION = """
loads a module the way hares-evaluate does and reports how it behaves.

    hares-check-handle --handle=exports/slowfast_nfnet_f0
    hares-check-handle --handle=https://tfhub.dev/google/yamnet/1
    hares-check-handle --handle=exports/slowfast_nfnet_f0 --runtime=openvino

Checked: the interface that was probed, determinism, whether a waveform's embedding depends on the
others in its batch, silence, very short and very long input, sensitivity to trailing silence, and
speed. Findings marked `!` spoil scores; the exit code is 1 if there is one.
"""

FLAGS = {
    "Module": (flags.HANDLE,),
    "Interface of the module": flags.INTERFACE,
    "Runtime": flags.RUNTIME,
}


def _run(values: Any) -> int:
    from hares_tf.evaluation import open_encoder, stated_interface
    from hares_tf.evaluation.encoders.checking import check_encoder
    from hares_tf.hub.loader import locate
    from hares_tf.runtimes.errors import ConversionError
    from hares_tf.utils.tables import aligned

    runtime = flags.runtime(values)
    runtime.check_available()
    module = locate(values.handle)
    stated, source = stated_interface(module, flags.interface(values))
    print(f"{module.name} ({module.handle})")
    try:
        encoder = open_encoder(module, stated, runtime)
    except ConversionError as error:
        print(f"  {error} TensorFlow computes instead.")
        encoder = open_encoder(module, stated)
    print(f"  {encoder.description} (stated by: {source})")
    findings = check_encoder(encoder)
    rows = [
        (f"{' ' if finding.good else '!'} {finding.name}", finding.text) for finding in findings
    ]
    print("\n".join(aligned(rows)))
    return 0 if all(finding.good for finding in findings) else 1


COMMAND = Command("hares-check-handle", DESCRIPTION, FLAGS, _run)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    return COMMAND.main(argv)


if __name__ == "__main__":
    sys.exit(main())
