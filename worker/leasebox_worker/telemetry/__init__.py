"""What a worker tells its operator."""
