"""Pages of the admin that talk to Microsoft while somebody looks."""
