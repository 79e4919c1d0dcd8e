"""What happens to jobs, sessions and sandboxes in Redis."""
