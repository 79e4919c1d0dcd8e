"""What happens to one job on its way through a worker."""
