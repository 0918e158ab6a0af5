"""The representations in which examples can be mixed; without Keras, for checking a setting."""

#: Log-mel spectrograms, mel spectrograms before the logarithm, waveforms, or not at all. The paper
#: mixes "spectrograms"; as in PANNs, which it follows, these are taken to be logarithmic ones.
DOMAINS = ("log_mel", "mel", "waveform", "none")
