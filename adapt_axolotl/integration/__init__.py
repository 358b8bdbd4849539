"""The seam to Axolotl: the one folder that uses Axolotl, Trainer, accelerate, DeepSpeed and TRL.
Every name that it takes from them comes through `compat`."""
