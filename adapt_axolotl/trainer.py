"""The path of the trainer that stands in recipes (`trainer_cls:`)."""

from adapt_axolotl.integration.trainer import AdaptTrainer

__all__ = ["AdaptTrainer"]
