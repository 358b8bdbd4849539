"""The `adapt-axolotl` command: what users type beside `axolotl train`."""
