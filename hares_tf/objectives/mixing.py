"""Example mixing: each example becomes a blend with another one of its batch.

Paper, Section 2.2 ("we use example mixing to augment spectrograms") and Appendix C ("the example
mixing ratio is sampled on the fly from the beta(5, 2) distribution").
"""

import functools

from keras import ops

from hares_tf.models.draws import Permutation, Uniform
from hares_tf.objectives.domains import DOMAINS
from hares_tf.objectives.errors import ObjectiveError
from hares_tf.objectives.objective import Inputs, Objective

#: Number of uniform numbers that one ratio needs.
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
    cases of ten; the paper does not mention `max(ratio, 1 - ratio)`.

    Args:
        examples: `[batch, ...]` float.
        partners: `[batch]` integers, the example of the batch that each one is mixed with.
        ratios: `[batch]` float, the share of the example itself.

    Returns:
        A tensor like `examples`.
    """
    ratios = ops.cast(ratios, examples.dtype)
    ratios = ops.reshape(ratios, (-1,) + (1,) * (len(examples.shape) - 1))
    return ratios * examples + (1.0 - ratios) * ops.take(examples, partners, axis=0)


class MixingObjective(Objective):
    """Base class of objectives whose examples are mixed within the replica.

    The order of the partners is another one for each crop: with common partners the distractor
    itself would tell which crops belong together.

    Args:
        mixing: one of `DOMAINS`, the representation in which two examples are mixed; "none" does
            not mix them.

    Raises:
        ObjectiveError: there is no such domain.
    """

    def __init__(self, mixing: str = "log_mel"):
        super().__init__()
        if mixing not in DOMAINS:
            raise ObjectiveError(
                f"Examples cannot be mixed in {mixing!r}; choose one of {', '.join(DOMAINS)}."
            )
        self.mixing = mixing

    def draws(self):
        """The partners and the ratios of each crop."""
        # Without mixing they are drawn all the same: the others must not depend on it.
        return {
            "partners": Permutation(leading=(self.crops,)),
            "ratios": Uniform(leading=(self.crops,), trailing=(UNIFORMS,)),
        }

    def inputs(self, encoder, waveforms, labels, draws):
        """All first crops, then all second ones; labels are mixed like the first crops."""
        partners, ratios = draws["partners"], beta_5_2(draws["ratios"])
        mixers = [
            functools.partial(mix, partners=partners[crop], ratios=ratios[crop])
            for crop in range(self.crops)
        ]
        examples = [
            encoder.inputs(waveforms[:, crop], mixer, self.mixing)
            for crop, mixer in enumerate(mixers)
        ]
        if labels is not None and self.mixing != "none":
            labels = mixers[0](labels)
        return Inputs(ops.concatenate(examples, axis=0), labels)
