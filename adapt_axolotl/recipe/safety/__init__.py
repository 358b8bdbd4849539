"""Look at a recipe without running anything of it: `adapt-axolotl validate`."""
