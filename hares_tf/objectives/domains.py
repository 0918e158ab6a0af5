"""Where examples can be mixed; without Keras, for whoever only checks a choice."""

#: Where examples are mixed: the log-mel spectrograms, the mel magnitudes before the logarithm, the
#: waveforms, or not at all. The paper mixes "spectrograms"; as in PANNs, which it follows, these
#: are taken to be the logarithmic ones.
DOMAINS = ("log_mel", "mel", "waveform", "none")
