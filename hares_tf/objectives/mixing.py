"""Example mixing: each example becomes a blend with another one of its batch.

Paper, Section 2.2 ("we use example mixing to augment spectrograms") and Appendix C ("the example
mixing ratio is sampled on the fly from the beta(5, 2) distribution").
"""

from keras import ops

from hares_tf.objectives.domains import DOMAINS
from hares_tf.objectives.errors import ObjectiveError

#: How many uniform numbers one ratio needs.
UNIFORMS = 6


def beta_5_2(uniforms):
    """Beta(5, 2) distributed ratios from uniform numbers.

    The k-th smallest of n independent uniform numbers follows Beta(k, n + 1 - k): the fifth of six
    follows Beta(5, 2). A gamma sampler, the usual way, does not compile for a TPU; six numbers and
    a few comparisons do.

    Args:
        uniforms: `[..., 6]` float, independent and uniform in [0, 1).

    Returns:
        `[...]` ratios in [0, 1), mean 5/7.
    """
    if uniforms.shape[-1] != UNIFORMS:
        raise ObjectiveError(
            f"beta_5_2 needs {UNIFORMS} uniform numbers for each ratio, not {uniforms.shape[-1]}."
        )
    return ops.sort(uniforms, axis=-1)[..., 4]


def mix(examples, partners, ratios):
    """`ratio * example + (1 - ratio) * partner`, for spectrograms, waveforms and labels alike.

    The ratio is used as drawn. Its distribution already makes the example the louder one in nine
    cases of ten; the paper says nothing of `max(ratio, 1 - ratio)`.

    Args:
        examples: `[batch, ...]` float.
        partners: `[batch]` integers, which example of the batch each one is mixed with.
        ratios: `[batch]` float, the share of the example itself.

    Returns:
        Tensor like `examples`.
    """
    ratios = ops.cast(ratios, examples.dtype)
    ratios = ops.reshape(ratios, (-1,) + (1,) * (len(examples.shape) - 1))
    return ratios * examples + (1.0 - ratios) * ops.take(examples, partners, axis=0)


def mixed_spectrogram(frontend, waveform, partners, ratios, domain="log_mel"):
    """Log-mel spectrograms of mixed examples.

    Args:
        frontend: `hares_tf.audio.LogMel`.
        waveform: `[batch, samples]` in [-1, 1].
        partners: as for `mix`; neither they nor the ratios are used where `domain` is "none".
        ratios: as for `mix`.
        domain: one of `DOMAINS`.

    Returns:
        `[batch, frames, bins, 1]`, not yet standardised.

    Raises:
        ObjectiveError: there is no such domain.
    """
    check_domain(domain)
    if domain == "none":
        return frontend(waveform)
    if domain == "waveform":
        return frontend(mix(waveform, partners, ratios))
    if domain == "mel":
        mel = mix(frontend.linear_mel(waveform), partners, ratios)
        return ops.log1p(frontend.log_scale * mel)
    return mix(frontend(waveform), partners, ratios)


def check_domain(domain):
    """Raises ObjectiveError if `domain` is none of `DOMAINS`."""
    if domain not in DOMAINS:
        raise ObjectiveError(
            f"Examples cannot be mixed in {domain!r}; choose {', '.join(DOMAINS)}."
        )
