"""Score: predict every partition with its champion, in batches or as rows arrive."""
