"""Which hosts a job may reach, and the proxy through which alone it reaches them."""
