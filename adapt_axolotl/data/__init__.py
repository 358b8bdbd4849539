"""A row, from its file to an index array: read, split into training and validation, cached, and
grouped by task. numpy and `datasets` only; whoever calls it brings the reader of rows."""
