"""What a job may do."""
