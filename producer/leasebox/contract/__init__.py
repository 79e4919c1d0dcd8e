"""The contract: the only modules that both sides of Leasebox import."""

CONTRACT_VERSION = 1
"""Carried by every record; a worker refuses a newer one."""
