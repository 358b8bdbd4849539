"""What a recipe will do, told before any GPU hour is spent: `adapt-axolotl plan`."""
