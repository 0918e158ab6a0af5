"""The encoders.

Attributes load on first use, so that importing one does not load what the others need.
"""

from hares_tf.utils.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Encoder": "encoder",
        "EncoderSpec": "registry",
        "ModelError": "errors",
        "SinglePathNFNet": "single_path_nfnet",
        "SlowFastNFNet": "slowfast_nfnet",
        "WaveformEncoder": "waveform_encoder",
        "create_model": "registry",
        "list_models": "registry",
        "register": "registry",
    },
)
