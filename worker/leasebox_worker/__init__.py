"""The worker side of Leasebox: claims jobs, leases sandboxes, runs code, settles results."""
