"""Which rows each optimizer step trains on: a stream of rows that follows a mixture, and its
micro-batches. numpy only; resumable to the batch."""
