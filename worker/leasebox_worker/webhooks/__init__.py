"""How is the end of a job or a batch told to a URL? An outbox in Redis, and attempts until somebody has taken it in."""
