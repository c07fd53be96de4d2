"""Methods of the stream_transport benchmark; `payload` is what all of them share."""
