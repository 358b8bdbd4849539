"""From a due step to new proportions: when meta steps run, which rows they read, and how scores are
measured on the model that is being trained. torch only."""
