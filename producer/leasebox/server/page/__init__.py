"""The page for people at `/`: what runs, rendered on the server, without a build step.

`routes` answers, `entry` decides who may look and act, `wording` says things for people, `transcript` puts a job's
output together, `rendering` makes the documents and their headers.
"""

from leasebox.server.page.routes import router

__all__ = ["router"]
