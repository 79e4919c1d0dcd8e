"""How the worker speaks to the agent in a sandbox."""
