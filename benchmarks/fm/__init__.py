"""Methods of the stream_fm benchmark; `ratings` and `model` are what all of them share."""
